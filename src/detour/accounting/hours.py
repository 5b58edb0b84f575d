"""GPU-hours and CPU-hours of attempts, and what became of them; pure arithmetic.

One `AttemptUsage` is one run of one job on its allocation, whichever source tells of it (our journals here, Slurm's
accounting later). A job that was requeued is several attempts, and all of them were paid for: a report that keeps only
the latest record of each job (sacct without `-D`) loses the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from math import fsum
from typing import NamedTuple

HOUR_S = 3600.0


class AttemptUsage(NamedTuple):
    """An allocation held from `start_s` to `end_s` (seconds since the epoch) and how far the work in it got."""

    id: str
    """Unique for the attempt in every source; records with the same one are the same attempt."""
    stage: str | None
    start_s: float
    end_s: float
    """End of the allocation; of one without an end, the last sign of life."""
    gpus: int | None
    cpus: int | None
    """Totals over all nodes; None is unknown, which is not 0."""
    nodes: int = 1
    ram_gb: float | None = None
    ready_s: float | None = None
    """When new work began: imports, loading and restoring were over. None: it never did."""
    saved_s: float | None = None
    """The last instant whose work is kept: the last checkpoint's, or the end of an attempt that finished."""
    worked_until_s: float | None = None
    """The last sign of work; None: the end. What lies between and the end of the allocation was idle."""
    failed: bool = False
    """It ended by an error rather than by a limit, a signal or a finish."""
    running: bool = False
    open_ended: bool = False
    """No end was recorded and it is not known to run: `end_s` is the last sign of life."""

    @property
    def allocated_s(self) -> float:
        return max(0.0, self.end_s - self.start_s)


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of allocated time, in any one unit; the parts sum to what was allocated."""

    useful: float = 0.0
    """Work that is kept."""
    startup: float = 0.0
    """Start-up and restore: before the first new work."""
    redone: float = 0.0
    """Work between the last checkpoint and the end of an interrupted attempt, to be done again."""
    failed: float = 0.0
    """Work lost to an error."""
    idle: float = 0.0
    """Held without any sign of work."""

    @property
    def allocated(self) -> float:
        return fsum(getattr(self, part.name) for part in fields(self))

    def __mul__(self, factor: float) -> Fates:
        return Fates(*(getattr(self, part.name) * factor for part in fields(self)))

    @staticmethod
    def sum(several: Iterable[Fates]) -> Fates:
        listed = list(several)
        return Fates(*(fsum(getattr(one, part.name) for one in listed) for part in fields(Fates)))


@dataclass(frozen=True, slots=True)
class Known:
    """A sum that says for how many of its parts nothing is known; None when nothing is known of any."""

    value: float | None
    unknown: int = 0

    @classmethod
    def sum(cls, values: Iterable[float | None]) -> Known:
        listed = list(values)
        known = [value for value in listed if value is not None]
        return cls(fsum(known) if known or not listed else None, len(listed) - len(known))


def fates_s(usage: AttemptUsage) -> Fates:
    """Cut an attempt's time at ready, saved and last work; the cuts are in order and inside it, so the parts add up.

    Of a running attempt, the work since its last checkpoint is counted as useful until it turns out otherwise.
    """
    end_s = max(usage.start_s, usage.end_s)
    worked_until_s = _within(end_s if usage.worked_until_s is None else usage.worked_until_s, usage.start_s, end_s)
    ready_s = _within(worked_until_s if usage.ready_s is None else usage.ready_s, usage.start_s, worked_until_s)
    saved_s = _within(ready_s if usage.saved_s is None else usage.saved_s, ready_s, worked_until_s)
    if usage.running:
        saved_s = worked_until_s
    startup_s, lost_s = ready_s - usage.start_s, worked_until_s - saved_s
    if usage.failed and usage.ready_s is None:
        startup_s, lost_s = 0.0, lost_s + startup_s
    return Fates(
        useful=saved_s - ready_s,
        startup=startup_s,
        redone=0.0 if usage.failed else lost_s,
        failed=lost_s if usage.failed else 0.0,
        idle=end_s - worked_until_s,
    )


def gpu_hours(usage: AttemptUsage) -> float | None:
    return _hours(usage.gpus, usage)


def cpu_hours(usage: AttemptUsage) -> float | None:
    return _hours(usage.cpus, usage)


def distinct(usages: Iterable[AttemptUsage]) -> list[AttemptUsage]:
    """Every attempt once; of several records of one, the last given (list the better source last).

    Some sites repeat a job's figure on the rows of its steps, and adding them up counts it several times.
    """
    return list({usage.id: usage for usage in usages}.values())


def _hours(count: int | None, usage: AttemptUsage) -> float | None:
    return None if count is None else count * usage.allocated_s / HOUR_S


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
