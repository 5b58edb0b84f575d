"""How a job's time on its nodes is divided among its attempts, by the scheduler's accounts. Pure.

A job may run several stages in turn, and be requeued. Its runs and its attempts are matched by stage, since clusters
that share a workspace may use the same id, and by time: an attempt owns the time from its start (the first one, from
the run's start) to the start of the next. So the parts add up to each run exactly, and time before an attempt's first
event or after its last shows as idle. Attempts that ran at the same time share what they held together in proportion to
how long each ran, as if one had followed the other at a faster pace. It is unknown when a run was suspended, only for
how long, so that time is spread evenly over the run: each second of it counts as the same part of a second on the
nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from math import fsum, inf
from typing import NamedTuple

from detour.ledger.events import JobAccounted

EARLY_S = 2.0
"""Seconds by which attempts may seem to overlap that did not: seconds are truncated."""
APART_S = 300.0
"""Seconds by which an attempt may seem to start before its run, or to start or end after it, since clocks of nodes
differ.

Further apart, it belongs to another job with the same, recycled id, or to a run of this one that has not ended yet.
"""


class Held(NamedTuple):
    """Part of a job's run, in seconds since the epoch."""

    start_s: float
    end_s: float
    run: JobAccounted
    pace: float = 1.0
    """Seconds held for each second that the attempt ran; less than 1 beside concurrent attempts."""

    @property
    def active(self) -> float:
        """Share of the run's time in which it was not suspended."""
        lasted_s = _end_s(self.run) - _start_s(self.run)
        return (self.run.elapsed_s or 0.0) / lasted_s if lasted_s > 0 else 1.0


class AttemptSpan(NamedTuple):
    """When an attempt began and ended, in seconds since the epoch."""

    start_s: float
    end_s: float
    """The last sign of life if no end was recorded."""
    stage: str | None = None


def parts(
    runs: Iterable[JobAccounted], attempts: Sequence[AttemptSpan]
) -> tuple[list[Held | None], list[tuple[JobAccounted, Held]]]:
    """What each attempt held (None if no run is known), and the runs without an attempt.

    `attempts` must be in order of their starts.
    """
    ran = sorted((run for run in runs if run.start_s is not None), key=_start_s)
    within: list[list[int]] = [[] for _ in ran]
    for number, attempt in enumerate(attempts):
        if (index := _run_of(ran, attempt)) is not None:
            within[index].append(number)
    held: list[Held | None] = [None] * len(attempts)
    alone = []
    for run, numbers in zip(ran, within, strict=True):
        begin_s, end_s = _start_s(run), _end_s(run)
        if not numbers:
            alone.append((run, Held(begin_s, end_s, run)))
        groups = _at_once(numbers, attempts)
        for place, group in enumerate(groups):
            later = groups[place + 1 :]
            until_s = min(max(attempts[later[0][0]].start_s, begin_s), end_s) if later else end_s
            lasted_s = [attempts[number].end_s - attempts[number].start_s for number in group]
            pace = _pace([attempts[number] for number in group], fsum(lasted_s))
            for number, (from_s, to_s) in zip(group, pairwise(_divided(begin_s, until_s, lasted_s)), strict=True):
                held[number] = Held(from_s, to_s, run, pace)
            begin_s = until_s
    return held, alone


def _pace(group: Sequence[AttemptSpan], lasted_s: float) -> float:
    """The time in which any attempt of a group ran, as a share of all their times."""
    if len(group) == 1 or not lasted_s:
        return 1.0
    any_s, reached_s = 0.0, -inf
    for one in group:
        any_s += max(0.0, one.end_s - max(one.start_s, reached_s))
        reached_s = max(reached_s, one.end_s)
    return any_s / lasted_s


def _at_once(numbers: Sequence[int], attempts: Sequence[AttemptSpan]) -> list[list[int]]:
    """Groups of attempts that overlap in time."""
    groups: list[list[int]] = []
    latest_s = -inf
    for number in numbers:
        if attempts[number].start_s < latest_s - EARLY_S:
            groups[-1].append(number)
        else:
            groups.append([number])
        latest_s = max(latest_s, attempts[number].end_s)
    return groups


def _divided(begin_s: float, end_s: float, weights: Sequence[float]) -> list[float]:
    """Borders of parts in proportion to the weights; the first and last border are exactly as given."""
    total = fsum(weights)
    inner = [begin_s + (end_s - begin_s) * (sum_s / total) for sum_s in accumulate(weights[:-1])] if total else []
    return [begin_s, *inner, end_s]


def _run_of(ran: Sequence[JobAccounted], attempt: AttemptSpan) -> int | None:
    """Return the run in which an attempt started, or the nearest one, the later of two; None if it outlived that."""
    apart_s = [
        (max(_start_s(run) - attempt.start_s, attempt.start_s - _end_s(run), 0.0), -index)
        for index, run in enumerate(ran)
        if (attempt.stage is None or not run.stages or attempt.stage in run.stages)
        and attempt.end_s - _end_s(run) <= APART_S
    ]
    nearest_s, index = min(apart_s, default=(inf, 0))
    return -index if nearest_s <= APART_S else None


def _end_s(run: JobAccounted) -> float:
    return max(_start_s(run) + max(run.elapsed_s or 0.0, 0.0), run.end_s or 0.0)


def _start_s(run: JobAccounted) -> float:
    assert run.start_s is not None
    return run.start_s
