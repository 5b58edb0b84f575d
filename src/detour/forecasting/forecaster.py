"""When a job will start, from how long similar jobs have waited.

The last bursts of the same shape, weighted towards the latest and those of the same account, make a Kaplan-Meier curve.
Which of its quantiles to use depends on how fast the queue moves now (see `pace`) and on the outcome of earlier
forecasts (see `feedback`). Nothing that happened after the time of a forecast enters it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, log1p
from typing import NamedTuple

from detour.forecasting.bursts import Bursts
from detour.forecasting.feedback import Feedback, Said
from detour.forecasting.pace import Pace
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
    slowness: float
    bursts: int
    last_s: float
    """The longest wait that has ended."""


class Forecaster:
    """Waits must be added in the order in which they began; a forecast uses only what was known at its time."""

    def __init__(self, waits: Iterable[Wait] = ()) -> None:
        """`waits` are added, and must be in the order in which they began."""
        self._bursts = Bursts()
        self._feedback = Feedback((P50, P90))
        self._pace = Pace()
        self._said: dict[tuple[Shape, str], Sequence[Said]] = {}
        """Shape and account -> quantiles for the latest jobs."""
        for wait in waits:
            self.add(wait)

    def add(self, wait: Wait) -> None:
        """Add a wait, and remember its forecast, to be corrected by.

        Within a burst a new one is made for job 1, 2, 4, 8, ...: little becomes known between its jobs.
        """
        like = wait.shape, wait.account
        number = self._bursts.begun(*like, wait.begun_s)
        known = self._known(*like, wait.begun_s) if number & (number + 1) == 0 else None
        if isinstance(known, _Known):
            self._said[like] = [self._quantile(known, share, wait.begun_s) for share in (P50, P90)]
        for said in self._said.get(like, ()):
            self._feedback.remember(wait, said)
        burst = self._bursts.add(wait)
        if number == 0 and isinstance(known, _Known):
            self._pace.remember(burst, known.curve)

    def forecast(self, shape: Shape, account: str, now_s: float, waited_s: float = 0.0) -> Expected | NoForecast:
        """The wait of a job that has waited for `waited_s` at `now_s`, which must not decrease between calls."""
        known = self._known(shape, account, now_s)
        if isinstance(known, NoForecast):
            return known
        if waited_s > 0 and waited_s >= known.last_s:
            return NoForecast(f"it has waited longer than all started jobs of the last {known.bursts} bursts like it")
        p50_s, p90_s = (max(waited_s, self._quantile(known, share, now_s, waited_s).wait_s) for share in (P50, P90))
        return Expected(p50_s, max(p50_s, p90_s), known.bursts)

    def _quantile(self, known: _Known, share: float, now_s: float, waited_s: float = 0.0) -> Said:
        """The quantile of waits longer than `waited_s`, at the pace of the queue and corrected by the feedback.

        Both act on the hazard: a slow queue multiplies that of jobs which do not start at once, and the correction
        changes it by what, to first order, changes the share as much as the feedback asks.
        """
        passed = known.curve.share(waited_s) if waited_s > 0 else 0.0
        at_once = max(passed, known.curve.share(AT_ONCE_S))
        usual = -log1p(-share) * exp(self._feedback.shift(share, now_s) / ((share - 1) * log1p(-share)))
        found = min(usual, log1p(-passed) - log1p(-at_once))
        level = 1 - (1 - passed) * exp(-found - known.slowness * (usual - found))
        step = known.curve.step(level)
        return Said(share, step.value, max(0.0, step.at - level) / (step.at - step.below))

    def _known(self, shape: Shape, account: str, now_s: float) -> _Known | NoForecast:
        similar = self._bursts.similar(shape, account)
        known = [(seen, weight) for burst, weight in similar if (seen := burst.observed(now_s))]
        bursts = len(known)
        if bursts < LEAST_BURSTS:
            found = counted(bursts, "burst")
            return NoForecast(f"{found} of such jobs in the history, of {LEAST_BURSTS} that a forecast needs")
        curve = kaplan_meier(one for seen, weight in known for one in weighed(seen, weight))
        if not curve.shares or curve.shares[-1] < P50:
            return NoForecast(f"most jobs of the last {bursts} bursts like it have not started yet")
        weights = [weight for _, weight in known]
        effective = sum(weights) ** 2 / sum(weight**2 for weight in weights)
        return _Known(with_tail(curve, effective), self._pace.slowness(now_s), bursts, curve.values[-1])
