"""When a job will start, from how long those like it have waited.

The last bursts of the same shape, those of the same account and the latest most, make a Kaplan-Meier curve, of which
past forecasts say which quantiles to take (see `feedback`). A job that joins a large burst waits longer than its first
(see `growth`). What happened after the moment of a forecast never enters it.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

from detour.forecasting.bursts import Bursts
from detour.forecasting.feedback import Feedback, Said
from detour.forecasting.growth import Growth
from detour.forecasting.survival import Curve, kaplan_meier, with_tail
from detour.forecasting.waits import Shape, Wait, weighed

LEAST_BURSTS = 10
"""Fewer say nothing."""
P50, P90 = 0.5, 0.9
LEAST_LEVEL = 0.05
SHORT_S = 60.0
"""Waits that differ by less are alike: beyond the longest one, forecasts grow in proportion to this and itself."""


class Expected(NamedTuple):
    """A wait, from its beginning on."""

    p50_s: float
    p90_s: float
    bursts: int
    """That it is made of."""


class NoForecast(NamedTuple):
    reason: str


class _Known(NamedTuple):
    curve: Curve
    bursts: int
    longest_s: float
    usual_number: float
    """Of a job in its burst, from 0."""


class Forecaster:
    """Waits are added in the order in which they began; a forecast uses what was known at its time."""

    def __init__(self) -> None:
        self._bursts = Bursts()
        self._feedback = Feedback((P50, P90))
        self._growth = Growth()

    def add(self, wait: Wait) -> None:
        """Its forecast is remembered if it is job 1, 2, 4, 8, ... of its burst: a large burst says more, but not as
        much as so many bursts.
        """
        number = self._bursts.begun(wait.shape, wait.account, wait.begun_s)
        known = self._known(wait.shape, wait.account, wait.begun_s) if number & (number + 1) == 0 else None
        if isinstance(known, _Known):
            for share in (P50, P90):
                self._feedback.remember(wait, self._said(known, share, wait.begun_s, number=number))
        self._growth.remember(self._bursts.add(wait))

    def forecast(self, shape: Shape, account: str, now_s: float, waited_s: float = 0.0) -> Expected | NoForecast:
        """The wait of a job that has waited for `waited_s` at `now_s`; not before that of an earlier call."""
        known = self._known(shape, account, now_s)
        if isinstance(known, NoForecast):
            return known
        if waited_s > 0 and (waited_s > known.curve.longest or known.curve.share(waited_s) > 1 - 1e-9):
            return NoForecast(f"it has waited longer than all jobs of the last {known.bursts} bursts like it")
        number = self._bursts.begun(shape, account, now_s)
        p50_s, p90_s = (max(waited_s, self._said(known, share, now_s, waited_s, number).wait_s) for share in (P50, P90))
        return Expected(p50_s, max(p50_s, p90_s), known.bursts)

    def _said(self, known: _Known, share: float, now_s: float, waited_s: float = 0.0, number: int = 0) -> Said:
        """The quantile of a new burst among `bursts` others (split conformal prediction: Vovk et al. 2005), moved by
        the feedback; of what has waited already, among those that waited longer.
        """
        passed = known.curve.share(waited_s) if waited_s > 0 else 0.0
        longer_ones = known.bursts * (1 - passed)
        rank = min(1.0, share * (longer_ones + 1) / longer_ones)
        level = passed + max(LEAST_LEVEL, rank + self._feedback.shift(share, now_s)) * (1 - passed)
        longer = 1.0 if waited_s > 0 else self._growth.factor(number, known.usual_number, now_s)
        step = known.curve.step(min(1.0, level))
        wait_s = step.value if level <= 1.0 else (step.value + SHORT_S) * exp(level - 1.0) - SHORT_S
        return Said(
            share,
            min(longer * wait_s, max(wait_s, known.longest_s)),
            max(0.0, step.at - level) / (step.at - step.below),
        )

    def _known(self, shape: Shape, account: str, now_s: float) -> _Known | NoForecast:
        similar = self._bursts.similar(shape, account)
        known = [(seen, weight, burst) for burst, weight in similar if (seen := burst.observed(now_s))]
        bursts = len(known)
        if bursts < LEAST_BURSTS:
            return NoForecast(f"{bursts} bursts of such jobs in the history, of {LEAST_BURSTS} that a forecast needs")
        curve = kaplan_meier(one for seen, weight, _ in known for one in weighed(seen, weight))
        if not curve.shares or curve.shares[-1] < P50:
            return NoForecast(f"most jobs of the last {bursts} bursts like it have not started yet")
        weights = [weight for _, weight, _ in known]
        usual_number = sum(weight * (len(burst.waits) - 1) / 2 for _, weight, burst in known) / sum(weights)
        return _Known(with_tail(curve), bursts, curve.longest, usual_number)
