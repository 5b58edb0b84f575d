"""How fast the queue moves now: starts observed in the last bursts, against starts expected.

A job that has waited for some time was expected to start as many times as its curve's cumulative hazard says, whether
it has started or is still pending. So a queue that slows down shows before anything starts, and in one shape for all,
since the same load slows all shapes. Old bursts are discounted, and a prior limits the influence of few bursts (a
gamma-Poisson filter: West & Harrison 1997). Jobs that start at once find free nodes; they say nothing about how fast
the queue moves, nor does its pace say how many they are.
"""

from __future__ import annotations

from collections import deque
from math import exp

from detour.forecasting.bursts import Burst
from detour.forecasting.survival import Curve
from detour.forecasting.waits import AT_ONCE_S

FADING = 7.0
"""Bursts, of all shapes, after which one counts 1/e of the latest."""
PRIOR = 7.0
"""Starts that count as observed and as expected beforehand."""
REMEMBERED = 40


class Pace:
    """Remembers the last bursts of all shapes."""

    def __init__(self) -> None:
        self._last: deque[tuple[Burst, Curve]] = deque(maxlen=REMEMBERED)

    def remember(self, burst: Burst, curve: Curve) -> None:
        """Remember a burst that has begun, with the curve of its shape at that time."""
        self._last.append((burst, curve))

    def slowness(self, now_s: float) -> float:
        """Expected starts per observed one: 2 where the queue starts half as many jobs as usual."""
        seen = expected = PRIOR
        for place, (burst, curve) in enumerate(reversed(self._last)):
            fading = exp(-place / FADING)
            at_once = curve.hazard(AT_ONCE_S)
            for one in burst.observed(now_s):
                if one.wait_s > AT_ONCE_S:
                    seen += fading * one.weight * one.ended
                    expected += fading * one.weight * (curve.hazard(one.wait_s) - at_once)
        return expected / seen
