"""When a job will start, from how long those like it have waited.

The last bursts of the same shape, those of the same account ahead, make a Kaplan-Meier curve; past forecasts say which
of its quantiles to take (see `calibration`). What happened after the moment of a forecast never enters it.
"""

from __future__ import annotations

from typing import NamedTuple

from detour.forecasting.bursts import KEPT, Bursts
from detour.forecasting.calibration import Calibration, place, wait_at
from detour.forecasting.survival import Curve, kaplan_meier
from detour.forecasting.waits import Shape, Wait

LEAST_BURSTS = 10
"""Fewer say nothing."""
OTHERS_WEIGHT = 0.5
"""Of a burst of another account, beside one of its own."""
P50, P90 = 0.5, 0.9


class Expected(NamedTuple):
    """A wait, from its beginning on."""

    p50_s: float
    p90_s: float
    bursts: int
    """That it is made of."""


class NoForecast(NamedTuple):
    reason: str


class Forecaster:
    """Waits are added in the order in which they began; a forecast uses what was known at its time."""

    def __init__(self) -> None:
        self._bursts = Bursts()
        self._calibration = Calibration()

    def add(self, wait: Wait) -> None:
        if not self._bursts.begins_one(wait):
            self._bursts.add(wait)
            return
        made = self._curve(wait.shape, wait.account, wait.begun_s)
        burst = self._bursts.add(wait)
        if not isinstance(made, NoForecast):
            self._calibration.remember(burst, made[0])

    def forecast(self, shape: Shape, account: str, now_s: float, waited_s: float = 0.0) -> Expected | NoForecast:
        """The wait of a job that has waited for `waited_s` at `now_s`.

        Calibration moves the p50 both ways and the p90 only up, from the rank of a new burst among `KEPT`: some quick
        starts do not say that long waits are over.
        """
        made = self._curve(shape, account, now_s)
        if isinstance(made, NoForecast):
            return made
        curve, bursts = made
        places = self._calibration.places(now_s)
        here = place(curve, waited_s) if waited_s > 0 else 0.0
        passed = places.share(here) if waited_s > 0 else 0.0
        if passed > 1 - 1e-9 or waited_s > curve.longest:
            return NoForecast(f"it has waited longer than all jobs of the last {bursts} bursts like it")

        p50_s = max(waited_s, wait_at(curve, places.quantile(_beyond(passed, P50))))
        p90_place = max(places.quantile(_beyond(passed, P90)), min(1.0, _beyond(here, P90 * (KEPT + 1) / KEPT)))
        return Expected(p50_s, max(p50_s, wait_at(curve, p90_place)), bursts)

    def _curve(self, shape: Shape, account: str, now_s: float) -> tuple[Curve, int] | NoForecast:
        """With the number of bursts in the curve."""
        own = self._bursts.own(shape, account)
        others = self._bursts.others(shape, account, KEPT - len(own))
        bursts = len(own) + len(others)
        if bursts < LEAST_BURSTS:
            return NoForecast(f"{bursts} bursts of such jobs in the history, of {LEAST_BURSTS} that a forecast needs")
        seen = [one for burst in own for one in burst.observed(now_s)]
        seen += [one for burst in others for one in burst.observed(now_s, OTHERS_WEIGHT)]
        curve = kaplan_meier(seen)
        if not curve.values:
            return NoForecast(f"no job of the last {bursts} bursts like it has started yet")
        return curve, bursts


def _beyond(passed: float, share: float) -> float:
    """The place below which `share` of what has not `passed` lies."""
    return passed + share * (1 - passed)
