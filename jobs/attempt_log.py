"""What an attempt logs while all goes well: where it runs, its progress, what it saved, and the results."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detour.jobs.rank import Rank
from detour.ledger.attempt import BEGINS
from detour.ledger.events import (
    CheckpointResumed,
    CheckpointSaved,
    CheckpointSkipped,
    Event,
    GradientSkipped,
    ProgressMade,
)
from detour.text import format_count, format_duration

QUIET_S, QUIETEST_S = 10.0, 300.0
"""Shortest and longest time between two lines of progress; in between, a fiftieth of the attempt's time so far."""
FIGURES = ("loss", "validation_loss", "validation_f1", "gradient_norm", "tokens_per_s", "mfu")
FILES_NAMED = 5


def begin_line(stage_id: str, label: str, rank: Rank, job: str | None, number: int | None = None) -> str:
    """The first line of an attempt in each rank's log, which marks its part of the log."""
    which = f"attempt {number}, " if number else ""
    of_world = f"rank {rank.rank} of {rank.world_size}, " if rank.world_size > 1 else ""
    by = f", job {job}" if job else ""
    at = time.strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"{BEGINS}{stage_id} ({label}): {which}{of_world}host {socket.gethostname()}{by}, process {os.getpid()}, {at}"
    )


def end_line(label: str, elapsed_s: float, result: Mapping[str, Any] | None, output: Path) -> str:
    """The last line of a successful attempt: how long it took, its figures, and the files it wrote."""
    figures = [f"{name} {_figure(value)}" for name, value in (result or {}).items() if type(value) in (int, float)]
    came_out = f": {', '.join(figures[:FILES_NAMED])}" if figures else ""
    return f"{label} done in {format_duration(elapsed_s)}{came_out}; {output}: {_files_in(output)}"


class Narrator:
    """Listens to the attempt's events and logs those of interest: validations at once, steps not too often."""

    def __init__(self, say: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._say, self._now_s = say, now_s
        self._began_s = now_s()
        self._said_s, self._said = float("-inf"), -1

    def heard(self, event: Event) -> None:
        match event:
            case ProgressMade():
                self._progress(event)
            case CheckpointSaved():
                self._say(f"checkpoint saved at step {event.step:,}, {format_count(event.tokens)} tokens")
            case CheckpointResumed():
                self._say(f"resumed from step {event.step:,}, {format_count(event.tokens)} tokens")
            case CheckpointSkipped():
                self._say(f"checkpoint of step {event.step:,} is damaged, an older one is used: {event.reason}")
            case GradientSkipped():
                self._say(f"step {event.step:,}: the gradient was not finite, {event.in_a_row} in a row")

    def _progress(self, event: ProgressMade) -> None:
        now_s = self._now_s()
        pause_s = min(max((now_s - self._began_s) / 50, QUIET_S), QUIETEST_S)
        is_end = self._said < event.total <= event.done
        shown = {name: value for name, value in event.figures.items() if name in FIGURES}
        is_validation = any(name.startswith("validation_") and value is not None for name, value in shown.items())
        if not (is_end or is_validation) and now_s - self._said_s < pause_s:
            return
        self._said_s, self._said = now_s, event.done
        share = f" ({event.done / event.total:.0%})" if event.total else ""
        figures = [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in shown.items()]
        amount = f"{format_count(event.done)} of {format_count(event.total)} {event.unit}"
        self._say(", ".join([f"{amount}{share}", *figures]))


def _figure(value: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _files_in(folder: Path) -> str:
    files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: -path.stat().st_size)
    named = [f"{path.relative_to(folder)} {_size(path.stat().st_size)}" for path in files[:FILES_NAMED]]
    more = [f"{len(files) - FILES_NAMED} more"] if len(files) > FILES_NAMED else []
    return ", ".join([*named, *more])


def _size(size_bytes: int) -> str:
    return f"{format_count(size_bytes)}B" if size_bytes >= 1000 else f"{size_bytes} B"
