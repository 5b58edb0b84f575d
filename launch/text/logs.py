"""The heading and the lines of a log, which are untrusted text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detour.orchestration.logs import LogPart
from detour.text import plain, printable, without_sequences


def log_heading(part: LogPart) -> str:
    """For example `pretrain clm (pretrain-0a1b), attempt 2, job 7, rank 0: /w/submissions/...`."""
    attempt = f", attempt {part.attempt}" if part.attempt is not None else ""
    where = f", job {part.job}" if part.job else f", process {part.process}" if part.process else ""
    return plain(f"==> {part.label} ({part.stage}){attempt}{where}, rank {part.rank}: {part.path}")


def log_line(line: str) -> str:
    """A line as it looks on a terminal at its end, without colours: a progress bar overwrites its line repeatedly."""
    return printable(without_sequences(line).rstrip("\r").rpartition("\r")[2].expandtabs())


def log_json(part: LogPart, lines: Sequence[str]) -> dict[str, Any]:
    return {
        "stage": part.stage,
        "label": part.label,
        "job": part.job,
        "process": part.process,
        "attempt": part.attempt,
        "rank": part.rank,
        "path": str(part.path),
        "lines": list(lines),
    }
