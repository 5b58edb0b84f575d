"""What a retry runs again, and why."""

from __future__ import annotations

from collections.abc import Iterator

from detour.orchestration.retry import Retry
from detour.text import plain


def retry_lines(retry: Retry) -> Iterator[str]:
    for label, reason in retry.failed.items():
        yield plain(f"{label}: runs again; it had failed: {reason}")
    for label, problem in retry.damaged.items():
        yield plain(f"{label}: rebuilt, because its output is damaged: {problem}")
