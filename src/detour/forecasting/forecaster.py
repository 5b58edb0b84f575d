"""When a job will start, from how long those like it have waited.

The last bursts of the same shape, those of the same account ahead and the latest most, make a Kaplan-Meier curve; past
forecasts say which of its quantiles to take (see `calibration`), by the rank of a new burst among them (split conformal
prediction: Vovk et al. 2005), and whether the p90 has to be longer still (see `lateness`). A job that joins a large
burst waits longer than its first (see `growth`). What happened after the moment of a forecast never enters it.
"""

from __future__ import annotations

from typing import NamedTuple

from detour.forecasting.bursts import Bursts, effective
from detour.forecasting.calibration import Calibration, place, wait_at
from detour.forecasting.growth import Growth
from detour.forecasting.lateness import Lateness
from detour.forecasting.survival import Curve, kaplan_meier, with_tail
from detour.forecasting.waits import Shape, Wait, weighed

LEAST_BURSTS = 10
"""Fewer say nothing."""
P50, P90 = 0.5, 0.9


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
    effective: float
    usual_number: float
    """Of a job in its burst, from 0."""

    def rank(self, share: float, here: float) -> float:
        """The share of the curve above `here` below which a new burst is with a chance of `share`."""
        above = self.effective * (1 - here)
        return min(1.0, share * (above + 1) / above) if above > 0 else 1.0


class Forecaster:
    """Waits are added in the order in which they began; a forecast uses what was known at its time."""

    def __init__(self) -> None:
        self._bursts = Bursts()
        self._calibration = Calibration()
        self._lateness = Lateness()
        self._growth = Growth()

    def add(self, wait: Wait) -> None:
        known = self._curve(wait.shape, wait.account, wait.begun_s) if self._bursts.begins_one(wait) else None
        said = self._expected(known, wait.begun_s) if isinstance(known, _Known) else None
        burst = self._bursts.add(wait)
        self._growth.remember(burst)
        if isinstance(known, _Known):
            self._calibration.remember(burst, known.curve)
        if isinstance(said, Expected):
            self._lateness.remember(wait, said.p90_s)

    def forecast(self, shape: Shape, account: str, now_s: float, waited_s: float = 0.0) -> Expected | NoForecast:
        """The wait of a job that has waited for `waited_s` at `now_s`.

        What became of past forecasts moves the p50 both ways and the p90 only up: some quick starts do not say that
        long waits are over.
        """
        known = self._curve(shape, account, now_s)
        if isinstance(known, NoForecast):
            return known
        return self._expected(known, now_s, waited_s, self._bursts.begun(shape, account, now_s))

    def _expected(self, known: _Known, now_s: float, waited_s: float = 0.0, number: int = 0) -> Expected | NoForecast:
        curve, bursts = known.curve, known.bursts
        places = self._calibration.places(now_s)
        here = place(curve, waited_s) if waited_s > 0 else 0.0
        passed = places.share(here) if waited_s > 0 else 0.0
        if passed > 1 - 1e-9 or waited_s > curve.longest:
            return NoForecast(f"it has waited longer than all jobs of the last {bursts} bursts like it")

        p50_s = max(waited_s, wait_at(curve, places.quantile(_beyond(passed, known.rank(P50, here)))))
        p90_place = max(places.quantile(_beyond(passed, P90)), _beyond(here, known.rank(P90, here)))
        p90_s = max(p50_s, self._lateness.stretched_s(wait_at(curve, p90_place), now_s))
        longer = 1.0 if waited_s > 0 else self._growth.factor(number, known.usual_number, now_s)
        return Expected(longer * p50_s, longer * p90_s, bursts)

    def _curve(self, shape: Shape, account: str, now_s: float) -> _Known | NoForecast:
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
        return _Known(with_tail(curve), bursts, effective(weights), usual_number)


def _beyond(passed: float, share: float) -> float:
    """The place below which `share` of what has not `passed` lies."""
    return passed + share * (1 - passed)
