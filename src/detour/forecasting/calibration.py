"""How good forecasts have been, taken back into the next ones.

The place of a wait is the share of its forecast that lies at or below it. Of good forecasts places are even; where the
queue has become slower, they crowd at the top. The places of the last bursts, of all shapes, say which share to ask the
next forecast for (recalibration: Kuleshov et al. 2018), the latest most, since a queue is slow or quick for days. The
unit is the burst here too; those that still wait have a place at least as high as that of their wait so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import exp, log

from detour.forecasting.bursts import Burst
from detour.forecasting.survival import Curve, kaplan_meier
from detour.forecasting.waits import HOUR_S, Observation, weighed

REMEMBERED = 40
"""Bursts."""
FADING_S = 72 * HOUR_S
"""After which a burst counts 1/e."""
PRIOR = 10.0
"""The trust in even places, in bursts."""
PRIOR_PLACES = 19
SHORT_S = 60.0
"""Waits that differ by less are alike."""


def place(curve: Curve, wait_s: float) -> float:
    """Above 1 for a wait that is longer than all that the forecast was made of."""
    if wait_s <= curve.longest:
        return curve.share(wait_s)
    return 1.0 + log((wait_s + SHORT_S) / (curve.longest + SHORT_S))


def wait_at(curve: Curve, at: float) -> float:
    """The wait that has this place."""
    if at <= 1.0:
        return curve.quantile(at)
    return (curve.longest + SHORT_S) * exp(at - 1.0) - SHORT_S


class Calibration:
    """Remembers what was forecast of the last bursts."""

    def __init__(self) -> None:
        self._forecast: deque[_Forecast] = deque(maxlen=REMEMBERED)

    def remember(self, burst: Burst, curve: Curve) -> None:
        self._forecast.append(_Forecast(burst, curve))

    def places(self, now_s: float) -> Curve:
        """How the places of past waits are distributed, as known at `now_s`."""
        known = (weighed(made.places(now_s), exp((made.begun_s - now_s) / FADING_S)) for made in self._forecast)
        return kaplan_meier([*_EVEN, *(one for places in known for one in places)])


_EVEN = [Observation((index + 0.5) / PRIOR_PLACES, True, PRIOR / PRIOR_PLACES) for index in range(PRIOR_PLACES)]


class _Forecast:
    """What was forecast of a burst when it began."""

    def __init__(self, burst: Burst, curve: Curve) -> None:
        self._burst, self._curve = burst, curve
        self.begun_s = burst.waits[0].begun_s
        self._settled: tuple[Sequence[Observation], list[Observation]] | None = None

    def places(self, now_s: float) -> list[Observation]:
        """Of its jobs; those of a burst to which nothing more happens are kept."""
        seen = self._burst.observed(now_s)
        if self._settled is not None and self._settled[0] is seen:
            return self._settled[1]
        places = [Observation(place(self._curve, one.wait_s), one.ended, one.weight) for one in seen]
        if now_s >= self._burst.settled_s:
            self._settled = seen, places
        return places
