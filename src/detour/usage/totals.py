"""Sums over attempts, exact in whatever order they are added, and cheap: dumps have millions of rows.

While rows are added, all figures of a group stand in one integer, as the digits of a number in base 2^96: one addition
adds them all. Time is in whole microseconds; 10^9 jobs of a month on 10^4 CPUs fit a digit, so that none carries over.
"""

from __future__ import annotations

from typing import NamedTuple

MICRO = 1_000_000
_MICRO_HOUR = 3600 * MICRO
_DIGIT_BITS = 96
_DIGIT = (1 << _DIGIT_BITS) - 1


class Totals(NamedTuple):
    """Of a group of attempts."""

    jobs: int = 0
    """Attempts that held nodes; each attempt of a requeued job is one."""
    running: int = 0
    """Of these, those without an end: their hours are those until the dump was made."""
    never_started: int = 0
    """Ended without nodes; in none of the other figures."""
    pending: int = 0
    cpu_us: int = 0
    gpu_us: int = 0
    node_us: int = 0
    wait_us: int = 0
    eligible_wait_us: int = 0
    no_cpus: int = 0
    """Jobs whose CPUs, or time on them, nothing tells: their CPU-hours are not in the sum."""
    no_gpus: int = 0
    no_nodes: int = 0
    no_wait: int = 0
    """Jobs without the time of their submission."""
    no_eligible_wait: int = 0
    unknown_cpu_us: int = 0
    """Time on nodes of such jobs: it may lie in other periods than the one in which the job counts."""
    unknown_gpu_us: int = 0
    unknown_node_us: int = 0

    @property
    def cpu_h(self) -> float | None:
        return _hours(self.cpu_us, self.no_cpus or self.unknown_cpu_us)

    @property
    def gpu_h(self) -> float | None:
        return _hours(self.gpu_us, self.no_gpus or self.unknown_gpu_us)

    @property
    def node_h(self) -> float | None:
        return _hours(self.node_us, self.no_nodes or self.unknown_node_us)

    @property
    def wait_h(self) -> float | None:
        """From submission to start, summed over jobs in the period in which they started."""
        return _hours(self.wait_us, self.no_wait)

    @property
    def eligible_wait_h(self) -> float | None:
        """From being eligible to start: without holds, dependencies and a start time that was asked for."""
        return _hours(self.eligible_wait_us, self.no_eligible_wait)


def _hours(known_us: int, unknown: int) -> float | None:
    """What is known, if anything is: 0 stands only where nothing is unknown."""
    return None if unknown and not known_us else known_us / _MICRO_HOUR


ONE = Totals(*(1 << (_DIGIT_BITS * place) for place in range(len(Totals._fields))))
"""One of each figure, as a digit: `3 * ONE.jobs + 5 * ONE.gpu_us` are three jobs and five microseconds."""


def unpack(digits: int) -> Totals:
    return Totals(*((digits >> (_DIGIT_BITS * place)) & _DIGIT for place in range(len(Totals._fields))))


def micro(seconds: float) -> int:
    return seconds * MICRO if type(seconds) is int else round(seconds * MICRO)
