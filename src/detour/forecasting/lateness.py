"""Whether jobs started by what was said of them of late, and how much longer to make the next p90 if too few did.

Calibration asks where waits lie in the curves that forecasts are made of; this asks what came of the forecasts
themselves, so that an error that lasts does not stay (adaptive conformal inference: Gibbs & Candès 2021). A burst that
has waited longer than its p90 is late at once, before it starts. Only what chance does not explain counts: chance alone
moves the share of late ones among so few by several per cent, and each stretch costs sharpness.
"""

from __future__ import annotations

from collections import deque
from math import exp, sqrt
from typing import NamedTuple

from detour.forecasting.bursts import effective
from detour.forecasting.calibration import SHORT_S
from detour.forecasting.survival import kaplan_meier
from detour.forecasting.waits import HOUR_S, Observation, Wait, observed

REMEMBERED = 60
"""Bursts."""
FADING_S = 168 * HOUR_S
"""After which a burst counts 1/e."""
LEAST = 10
"""Fewer bursts of which it is known whether they were late say nothing."""
EXPECTED = 0.1
"""Share of bursts that are later than a right p90."""
GAIN = 5.0
"""A tenth too many late ones makes the p90 longer by two thirds: about what a lognormal queue needs."""
MOST = 1.6


class _Said(NamedTuple):
    wait: Wait
    """The burst's first job, which stands for it."""
    p90_s: float

    def observed(self, now_s: float) -> Observation | None:
        """The wait as a share of its p90, as known at `now_s`."""
        seen = observed(self.wait, now_s, exp((self.wait.begun_s - now_s) / FADING_S))
        return seen and seen._replace(wait_s=(seen.wait_s + SHORT_S) / (self.p90_s + SHORT_S))


class Lateness:
    """Remembers the p90 that was said of the last bursts."""

    def __init__(self) -> None:
        self._said: deque[_Said] = deque(maxlen=REMEMBERED)

    def remember(self, wait: Wait, p90_s: float) -> None:
        self._said.append(_Said(wait, p90_s))

    def stretched_s(self, p90_s: float, now_s: float) -> float:
        """A p90, longer if by what is known at `now_s` too many were late."""
        seen = [one for said in self._said if (one := said.observed(now_s)) is not None]
        known = [one.weight for one in seen if one.ended or one.wait_s > 1.0]
        if len(known) < LEAST:
            return p90_s
        chance = sqrt(EXPECTED * (1 - EXPECTED) / effective(known))
        late = 1.0 - kaplan_meier(seen).share(1.0)
        return p90_s * min(MOST, exp(GAIN * max(0.0, late - EXPECTED - chance)))
