"""What of a job's time on its nodes belongs to which attempt, by the scheduler's accounts; pure.

A job may run several stages one after another, and be requeued. Its runs and its attempts are matched by time: to an
attempt belongs what lies from its start (the first one's from the run's) to the next one's, so that the parts add up to
each run exactly, and what lies before an attempt's first word and after its last is seen to be idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from detour.ledger.events import JobAccounted

EARLY_S = 2.0
"""An attempt may seem to start so much before its run: the scheduler's seconds are cut off, and clocks differ."""
LATE_S = 300.0
"""... and so much after its end. Later, it is an attempt of another job with the same, recycled id."""


class Held(NamedTuple):
    """Part of a run of a job, in seconds since the epoch."""

    start_s: float
    end_s: float
    run: JobAccounted


def parts(
    runs: Iterable[JobAccounted], starts_s: Sequence[float]
) -> tuple[list[Held | None], list[tuple[JobAccounted, Held]]]:
    """For attempts that began at these times, in order, what they held (None: no run is known), and the runs in which
    there was no attempt.
    """
    ran = sorted((run for run in runs if run.start_s is not None), key=_start_s)
    within: list[list[int]] = [[] for _ in ran]
    for attempt, start_s in enumerate(starts_s):
        if (index := _run_of(ran, start_s)) is not None:
            within[index].append(attempt)
    held: list[Held | None] = [None] * len(starts_s)
    alone = []
    for run, attempts in zip(ran, within, strict=True):
        begin_s, end_s = _start_s(run), _end_s(run)
        if not attempts:
            alone.append((run, Held(begin_s, end_s, run)))
        for place, attempt in enumerate(attempts):
            later = attempts[place + 1 :]
            until_s = min(max(starts_s[later[0]], begin_s), end_s) if later else end_s
            held[attempt] = Held(begin_s, until_s, run)
            begin_s = until_s
    return held, alone


def _run_of(ran: Sequence[JobAccounted], start_s: float) -> int | None:
    begun = [index for index, run in enumerate(ran) if _start_s(run) - EARLY_S <= start_s]
    if not begun:
        return None
    return begun[-1] if start_s <= _end_s(ran[begun[-1]]) + LATE_S else None


def _end_s(run: JobAccounted) -> float:
    return _start_s(run) + max(run.elapsed_s or 0.0, 0.0)


def _start_s(run: JobAccounted) -> float:
    assert run.start_s is not None
    return run.start_s
