"""What a retry runs again, and why."""

from __future__ import annotations

from collections.abc import Iterator

from detour.launch.text.screen import say, show, show_json
from detour.orchestration.retry import Retry
from detour.text import plain


def retry_lines(retry: Retry) -> Iterator[str]:
    for label, reason in retry.failed.items():
        yield plain(f"{label}: runs again; it had failed: {reason}")
    for label, problem in retry.damaged.items():
        yield plain(f"{label}: rebuilt, because its output is damaged: {problem}")


def show_cleared(retry: Retry, *, as_json: bool) -> None:
    """A retry of chains without Slurm, in JSON in the shape of a submission without jobs."""
    again, then = [*retry_lines(retry)], "`detour run` with the same recipe resumes it"
    if as_json:
        said = {"name": retry.name, "chains": list(retry.chains), "remarks": [*again, then]}
        show_json({**said, "jobs": {}, "in_flight": [], "deferred": [], "next_wave": None, "calls": {}})
    else:
        say(*again)
        show(f"{retry.name}: {then}")
