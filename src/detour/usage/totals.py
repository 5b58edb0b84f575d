"""Sums over attempts, exact in any order and fast, because dumps have millions of rows.

While rows are added, all figures of a group are digits of one integer in base 2^96, so a single addition adds them all.
Time is in whole microseconds; 10^9 jobs of a month on 10^4 CPUs fit in a digit, so no digit overflows.
"""

from __future__ import annotations

from typing import NamedTuple

MICRO = 1_000_000
_MICRO_HOUR = 3600 * MICRO
_DIGIT_BITS = 96
_DIGIT = (1 << _DIGIT_BITS) - 1


class Totals(NamedTuple):
    """Sums over a group of attempts."""

    jobs: int = 0
    """Attempts that held nodes; each attempt of a requeued job is one."""
    running: int = 0
    """Those without an end, whose hours count until the dump was made."""
    never_ran: int = 0
    """Jobs that ended without nodes, which no other figure includes."""
    pending: int = 0
    cpu_us: int = 0
    gpu_us: int = 0
    node_us: int = 0
    wait_us: int = 0
    queue_wait_us: int = 0
    no_cpus: int = 0
    """Jobs with unknown CPUs or time, whose CPU-hours are not in the sum."""
    no_gpus: int = 0
    no_nodes: int = 0
    no_wait: int = 0
    """Jobs with an unknown submission time."""
    no_queue_wait: int = 0
    unknown_cpu_us: int = 0
    """Time on nodes of jobs with unknown CPUs, which may lie in other periods than that in which the job counts."""
    unknown_gpu_us: int = 0
    unknown_node_us: int = 0

    @property
    def cpu_hours(self) -> float | None:
        return _hours(self.cpu_us, self.no_cpus or self.unknown_cpu_us)

    @property
    def gpu_hours(self) -> float | None:
        return _hours(self.gpu_us, self.no_gpus or self.unknown_gpu_us)

    @property
    def node_hours(self) -> float | None:
        return _hours(self.node_us, self.no_nodes or self.unknown_node_us)

    @property
    def wait_hours(self) -> float | None:
        """Time from submission to start, summed over jobs in the period of their start."""
        return _hours(self.wait_us, self.no_wait)

    @property
    def queue_wait_hours(self) -> float | None:
        """Time from being eligible to start, excluding holds, dependencies and requested start times."""
        return _hours(self.queue_wait_us, self.no_queue_wait)


def _hours(known_us: int, unknown: int) -> float | None:
    """Return the known hours; None rather than 0 if some are unknown and none is known."""
    return None if unknown and not known_us else known_us / _MICRO_HOUR


ONE = Totals(*(1 << (_DIGIT_BITS * place) for place in range(len(Totals._fields))))
"""Each figure as the unit of its digit: `3 * ONE.jobs + 5 * ONE.gpu_us` is three jobs and five microseconds."""


def unpack(digits: int) -> Totals:
    return Totals(*((digits >> (_DIGIT_BITS * place)) & _DIGIT for place in range(len(Totals._fields))))


def micro(seconds: float) -> int:
    return seconds * MICRO if type(seconds) is int else round(seconds * MICRO)
