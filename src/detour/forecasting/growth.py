"""How much longer the later jobs of a large burst wait than its first ones.

Slurm starts them one after the other, and fair share holds back an account whose jobs are running, so the hundredth job
of a burst waits longer than the first. The growth is learned from past bursts: job n waits as long as the first, number
0, times 1 + growth * n.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean, median

from detour.forecasting.bursts import Burst
from detour.forecasting.waits import AT_ONCE_S, Wait, ended_s

LARGE = 10
"""Jobs in a burst; smaller bursts do not show growth."""
LEAST = 3
"""Large bursts below which no growth is assumed."""
REMEMBERED = 40
FIRST = 3
"""Jobs whose mean wait counts as the first wait."""


class Growth:
    """Remembers the last large bursts."""

    def __init__(self) -> None:
        self._large: deque[_Large] = deque(maxlen=REMEMBERED)

    def remember(self, burst: Burst) -> None:
        """Call after each job of a burst."""
        if len(burst.waits) == LARGE:
            self._large.append(_Large(burst))

    def factor(self, number: int, usual: float, now_s: float) -> float:
        """The wait of a job with this number relative to one with the usual number, as known at `now_s`."""
        known = [growth for one in self._large if (growth := one.growth_at(now_s)) is not None]
        growth = max(0.0, median(known)) if len(known) >= LEAST else 0.0
        return (1.0 + growth * number) / (1.0 + growth * usual)


@dataclass(slots=True)
class _Large:
    burst: Burst
    known_s: float = inf
    growth: float | None = None

    def growth_at(self, now_s: float) -> float | None:
        """None while some of its jobs are pending, or if no growth can be estimated."""
        if self.known_s == inf and (over_s := max(ended_s(wait) for _, wait in self.burst.numbered)) <= now_s:
            self.known_s, self.growth = over_s, growth_of(self.burst.numbered)
        return self.growth if self.known_s <= now_s else None


def growth_of(jobs: Sequence[tuple[int, Wait]]) -> float | None:
    """Growth per job, by least squares over numbered jobs of a burst; None if it cannot be estimated."""
    waits_s = [(number, wait.started_s - wait.begun_s) for number, wait in jobs if wait.started_s is not None]
    first_s = fmean(wait_s for _, wait_s in waits_s[:FIRST]) if len(waits_s) >= LARGE // 2 else 0.0
    if first_s < AT_ONCE_S:
        return None
    longer = sum(number * (wait_s / first_s - 1.0) for number, wait_s in waits_s)
    return longer / sum(number**2 for number, _ in waits_s)
