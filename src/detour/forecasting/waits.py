"""How long jobs have waited: the only input of forecasts.

A wait begins when only the queue keeps the job from starting (Slurm's Eligible, else Submit), and ends with its start.
A pending job has waited at least that long: a censored observation. A job cancelled before its start says nothing from
then on: what is forecast, and scored, is when a job starts if it is left in the queue.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from math import inf
from typing import NamedTuple

from detour.sacct.rows import JobRow
from detour.sacct.values import parse_gres, parse_tres

HOUR_S = 3600.0
AT_ONCE_S = 60.0
"""Seconds within which a start shows that there were free nodes: such waits tell nothing about the queue's pace."""
LIMIT_EDGES_H = (1.0, 4.0, 12.0, 24.0, 48.0)
"""Bins of time limits: up to 1 h, up to 4 h, ..., more than 48 h."""


class Shape(NamedTuple):
    """Jobs of one shape wait alike: the same number of GPUs, and time limits in the same bin."""

    gpus: int | None
    limit_bin: int | None
    """Index into `LIMIT_EDGES_H`; None without a known limit."""


class Wait(NamedTuple):
    """The wait of one job. Times are seconds since the epoch."""

    job: str
    """The id as sacct shows it."""
    account: str
    shape: Shape
    begun_s: float
    started_s: float | None = None
    left_s: float | None = None
    """When it was cancelled without having started."""


class Observation(NamedTuple):
    """What is known about one wait at some time."""

    wait_s: float
    ended: bool
    """False if the wait lasts at least this long."""
    weight: float = 1.0


def weighed(seen: Iterable[Observation], weight: float) -> list[Observation]:
    return [Observation(one.wait_s, one.ended, one.weight * weight) for one in seen]


def shape_of(gpus: int | None, limit_s: float | None) -> Shape:
    return Shape(gpus, None if limit_s is None else bisect_left(LIMIT_EDGES_H, limit_s / HOUR_S))


def observed(wait: Wait, now_s: float) -> Observation | None:
    """What could be known about it at `now_s`: a later start is not used. None once it was cancelled."""
    if wait.started_s is not None and wait.started_s <= now_s:
        return Observation(max(0.0, wait.started_s - wait.begun_s), ended=True)
    if wait.left_s is not None and wait.left_s <= now_s:
        return None
    return Observation(max(0.0, now_s - wait.begun_s), ended=False)


def ended_s(wait: Wait) -> float:
    """When it was over, by a start or a cancellation; inf if it is not."""
    known = wait.left_s if wait.started_s is None else wait.started_s
    return inf if known is None else known


def waits_of(rows: Iterable[JobRow]) -> list[Wait]:
    """Waits in the order in which they began.

    Rows without a submission time are left out, as are jobs that a dependency or a hold kept to the end, which have no
    Eligible although other rows have one.
    """
    known = list(rows)
    tells = any(row.eligible_s is not None for row in known)
    return sorted((wait for row in known for wait in _waits(row, tells)), key=lambda wait: wait.begun_s)


def _waits(row: JobRow, tells_eligible: bool) -> Iterator[Wait]:
    begun_s = _begun_s(row)
    if begun_s is None or (tells_eligible and row.eligible_s is None and row.start_s is None):
        return
    left_s = row.end_s if row.start_s is None else None
    wait = Wait(
        row.shown_id, row.account or row.user or "", shape_of(_gpus(row), row.limit_s), begun_s, row.start_s, left_s
    )
    for _ in range(row.tasks):
        yield wait


def _begun_s(row: JobRow) -> float | None:
    if row.submit_s is None or row.eligible_s is None:
        return row.submit_s
    begun_s = max(row.submit_s, row.eligible_s)
    return begun_s if row.start_s is None else min(begun_s, row.start_s)


def _gpus(row: JobRow) -> int | None:
    """GPUs allocated, or requested by a pending job, which has no allocation."""
    if row.n_gpus is not None or row.requested_tres is None:
        return row.n_gpus
    asked = parse_tres(row.requested_tres).gpus
    return asked if asked is not None else parse_gres(row.requested_tres).gpus or 0
