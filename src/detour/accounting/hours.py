"""GPU-hours and CPU-hours of attempts; pure arithmetic. What became of them: detour.accounting.fates.

One `AttemptUsage` is one run of one job on its allocation, whatever its source (our journals here, Slurm's
accounting later). A job that was requeued is several attempts, and all of them were paid for: a report that keeps only
the latest record of each job (sacct without `-D`) loses the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    gpus: float | None
    """Boards: a slice (MIG) is its share of one, by compute slices."""
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
    source: str = "journal"
    """Whose start and end these are: `journal`, `sacct` or `local executor`."""
    worked_from_s: float | None = None
    """The first sign of work; None: the start. What lies before it was idle."""

    @property
    def allocated_s(self) -> float:
        return self.end_s - self.start_s if self.end_s > self.start_s else 0.0


def gpu_hours(usage: AttemptUsage) -> float | None:
    return _hours(usage.gpus, usage)


def cpu_hours(usage: AttemptUsage) -> float | None:
    return _hours(usage.cpus, usage)


def distinct(usages: Iterable[AttemptUsage]) -> list[AttemptUsage]:
    """Every attempt once; of several records of one, the last given (list the better source last).

    Some sites repeat a job's figure on the rows of its steps, and adding them up counts it several times.
    """
    return list({usage.id: usage for usage in usages}.values())


def _hours(count: float | None, usage: AttemptUsage) -> float | None:
    return None if count is None else count * usage.allocated_s / HOUR_S
