"""How fast the queue moves now: starts observed in the last bursts, against starts expected.

A job that has waited for some time was expected to start as many times as its curve's cumulative hazard says, whether
it has started or is still pending. So a queue that slows down shows before anything starts, and in one shape for all,
since the same load slows all shapes. Old bursts are discounted, and a prior limits the influence of few bursts (a
gamma-Poisson filter: West & Harrison 1997). Jobs that start at once find free nodes; they say nothing about how fast
the queue moves, nor does its pace say how many they are.
"""

from __future__ import annotations

from collections import deque
from math import exp, expm1
from typing import NamedTuple

from detour.forecasting.bursts import Burst
from detour.forecasting.survival import Curve
from detour.forecasting.waits import AT_ONCE_S

FADING = 7.0
"""Bursts, of all shapes, after which one counts 1/e of the latest."""
PRIOR = 7.0
"""Starts that count as observed and as expected beforehand."""
REMEMBERED = 40


class Pace(NamedTuple):
    seen: float
    expected: float

    def hazard(self, usual: float) -> float:
        """The hazard on a curve by which, at this pace, as many jobs start as usually by the hazard `usual`.

        A pace that is known from few starts widens the distribution: gamma-mixed exponential, hence Lomax.
        """
        return self.expected * expm1(usual / self.seen)


class Paces:
    """Remembers the last bursts of all shapes."""

    def __init__(self) -> None:
        self._last: deque[tuple[Burst, Curve]] = deque(maxlen=REMEMBERED)

    def remember(self, burst: Burst, curve: Curve) -> None:
        """Remember a burst that has begun, with the curve of its shape at that time."""
        self._last.append((burst, curve))

    def at(self, now_s: float) -> Pace:
        seen = expected = PRIOR
        for place, (burst, curve) in enumerate(reversed(self._last)):
            fading = exp(-place / FADING)
            at_once = curve.hazard(AT_ONCE_S)
            for one in burst.observed(now_s):
                if one.wait_s > AT_ONCE_S:
                    seen += fading * one.weight * one.ended
                    expected += fading * one.weight * (curve.hazard(one.wait_s) - at_once)
        return Pace(seen, expected)
