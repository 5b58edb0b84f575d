"""GPU-hours and CPU-hours of attempts; pure arithmetic. Their fates are in detour.accounting.fates.

One `AttemptUsage` is one run of one job on its allocation, from any source (our journals, Slurm's accounting). A
requeued job is several attempts, all of which are charged: keeping only the latest record of each job (sacct without
`-D`) would lose the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

HOUR_S = 3600.0


class AttemptUsage(NamedTuple):
    """An allocation from `start_s` to `end_s` (seconds since the epoch) and the progress of the work in it."""

    id: str
    """Identifies the attempt; records with the same id are the same attempt."""
    stage: str | None
    start_s: float
    end_s: float
    """End of the allocation, or the last sign of life if no end was recorded."""
    gpus: float | None
    """Number of boards; a slice (MIG) counts as its share, by compute slices."""
    cpus: int | None
    """Total over all nodes; None means unknown, not 0."""
    nodes: int = 1
    ram_gb: float | None = None
    ready_s: float | None = None
    """When new work began, after imports, loading and restoring; None if it never did."""
    saved_s: float | None = None
    """The last instant whose work was kept: that of the last checkpoint, or the end of a finished attempt."""
    worked_until_s: float | None = None
    """The last sign of work, None for the end; the time after it was idle."""
    failed: bool = False
    """Whether it ended with an error, rather than at a limit, by a signal or by finishing."""
    running: bool = False
    open_ended: bool = False
    """Whether no end was recorded and it is not known to run, so `end_s` is the last sign of life."""
    source: str = "journal"
    """Source of start and end: `journal`, `sacct` or `local executor`."""
    worked_from_s: float | None = None
    """The first sign of work, None for the start; the time before it was idle."""
    active: float = 1.0
    """Share of the time for which it counts: less than 1 if the job was suspended, at instants that are unknown."""

    @property
    def allocated_s(self) -> float:
        return (self.end_s - self.start_s) * self.active if self.end_s > self.start_s else 0.0


def gpu_hours(usage: AttemptUsage) -> float | None:
    return _hours(usage.gpus, usage)


def cpu_hours(usage: AttemptUsage) -> float | None:
    return _hours(usage.cpus, usage)


def _hours(count: float | None, usage: AttemptUsage) -> float | None:
    return None if count is None else count * usage.allocated_s / HOUR_S


def overlap_s(intervals: Sequence[tuple[float, float]]) -> float:
    """Return the total length of the intervals minus that of their union: the seconds counted more than once."""
    union, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        union += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return max(0.0, fsum(end - start for start, end in intervals) - union)
