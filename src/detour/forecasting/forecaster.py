"""When a job will start, from how long similar jobs have waited.

The last bursts of the same shape, weighted towards the latest and those of the same account, make a Kaplan-Meier curve.
Which of its quantiles to use depends on how fast the queue moves now (see `pace`) and on the outcome of earlier
forecasts (see `feedback`). A job that joins a large burst waits longer than its first job (see `growth`). Nothing that
happened after the time of a forecast enters it.
"""

from __future__ import annotations

from math import exp, log1p
from typing import NamedTuple

from detour.forecasting.bursts import Bursts
from detour.forecasting.feedback import Feedback, Said
from detour.forecasting.growth import Growth
from detour.forecasting.pace import Pace, Paces
from detour.forecasting.survival import Curve, kaplan_meier, with_tail
from detour.forecasting.waits import AT_ONCE_S, Shape, Wait, weighed
from detour.text import counted

LEAST_BURSTS = 10
"""Bursts below which there is no forecast."""
P50, P90 = 0.5, 0.9


class Expected(NamedTuple):
    """A wait, from its beginning."""

    p50_s: float
    p90_s: float
    bursts: int
    """Number of bursts it is based on."""


class NoForecast(NamedTuple):
    reason: str


class _Known(NamedTuple):
    curve: Curve
    pace: Pace
    bursts: int
    last_s: float
    """The longest wait that has ended."""
    longest_s: float
    usual_number: float
    """Mean number of a job in its burst, from 0."""


class Forecaster:
    """Waits must be added in the order in which they began; a forecast uses only what was known at its time."""

    def __init__(self) -> None:
        self._bursts = Bursts()
        self._feedback = Feedback((P50, P90))
        self._growth = Growth()
        self._paces = Paces()

    def add(self, wait: Wait) -> None:
        """Add a wait; its forecast is remembered if it is job 1, 2, 4, 8, ... of its burst.

        A large burst says more than a small one, but not as much as that many bursts.
        """
        number = self._bursts.begun(wait.shape, wait.account, wait.begun_s)
        known = self._known(wait.shape, wait.account, wait.begun_s) if number & (number + 1) == 0 else None
        if isinstance(known, _Known):
            for share in (P50, P90):
                self._feedback.remember(wait, self._said(known, share, wait.begun_s, number=number))
        burst = self._bursts.add(wait)
        self._growth.remember(burst)
        if number == 0 and isinstance(known, _Known):
            self._paces.remember(burst, known.curve)

    def forecast(self, shape: Shape, account: str, now_s: float, waited_s: float = 0.0) -> Expected | NoForecast:
        """The wait of a job that has waited for `waited_s` at `now_s`, which must not decrease between calls."""
        known = self._known(shape, account, now_s)
        if isinstance(known, NoForecast):
            return known
        if waited_s > 0 and waited_s >= known.last_s:
            return NoForecast(f"it has waited longer than all started jobs of the last {known.bursts} bursts like it")
        number = self._bursts.begun(shape, account, now_s)
        p50_s, p90_s = (max(waited_s, self._said(known, share, now_s, waited_s, number).wait_s) for share in (P50, P90))
        return Expected(p50_s, max(p50_s, p90_s), known.bursts)

    def _said(self, known: _Known, share: float, now_s: float, waited_s: float = 0.0, number: int = 0) -> Said:
        """The quantile of waits longer than `waited_s`, at the hazard of the pace and corrected by the feedback.

        To first order, the correction is as much as the share of late starts is off.
        """
        passed = known.curve.share(waited_s) if waited_s > 0 else 0.0
        at_once = max(passed, known.curve.share(AT_ONCE_S))
        usual = -log1p(-share) * exp(self._feedback.shift(share, now_s) / ((share - 1) * log1p(-share)))
        found = min(usual, log1p(-passed) - log1p(-at_once))
        level = 1 - (1 - passed) * exp(-found - known.pace.hazard(usual - found))
        longer = 1.0 if waited_s > 0 else self._growth.factor(number, known.usual_number, now_s)
        step = known.curve.step(level)
        return Said(
            share,
            min(longer * step.value, max(step.value, known.longest_s)),
            max(0.0, step.at - level) / (step.at - step.below),
        )

    def _known(self, shape: Shape, account: str, now_s: float) -> _Known | NoForecast:
        similar = self._bursts.similar(shape, account)
        known = [(seen, weight, burst) for burst, weight in similar if (seen := burst.observed(now_s))]
        bursts = len(known)
        if bursts < LEAST_BURSTS:
            found = counted(bursts, "burst")
            return NoForecast(f"{found} of such jobs in the history, of {LEAST_BURSTS} that a forecast needs")
        curve = kaplan_meier(one for seen, weight, _ in known for one in weighed(seen, weight))
        if not curve.shares or curve.shares[-1] < P50:
            return NoForecast(f"most jobs of the last {bursts} bursts like it have not started yet")
        weights = [weight for _, weight, _ in known]
        usual_number = sum(weight * (len(burst.waits) - 1) / 2 for _, weight, burst in known) / sum(weights)
        effective = sum(weights) ** 2 / sum(weight**2 for weight in weights)
        return _Known(
            with_tail(curve, effective),
            self._paces.at(now_s),
            bursts,
            curve.values[-1],
            curve.longest,
            usual_number,
        )
