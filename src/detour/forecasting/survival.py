"""The Kaplan-Meier estimate of the distribution of waits, of which some have not ended."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby, pairwise
from math import sqrt
from operator import itemgetter
from typing import NamedTuple

from detour.forecasting.waits import Observation


class Step(NamedTuple):
    value: float
    below: float
    """Share below the value."""
    at: float
    """Share at or below the value."""


@dataclass(frozen=True)
class Curve:
    """A step distribution function. It ends below 1 if the longest observation is censored."""

    values: tuple[float, ...]
    """Where it steps up, ascending."""
    shares: tuple[float, ...]
    """The share at or below each of `values`."""
    longest: float
    """The longest observation, ended or not."""

    def hazard(self, value: float) -> float:
        """Cumulative hazard up to `value` (Nelson & Aalen): the expected number of ends for a wait of that length."""
        index = bisect_right(self.values, value)
        return self._hazards[index - 1] if index else 0.0

    @cached_property
    def _hazards(self) -> Sequence[float]:
        return list(accumulate((at - below) / (1 - below) for below, at in pairwise((0.0, *self.shares))))

    def share(self, value: float) -> float:
        """Share of values that are at most `value`."""
        index = bisect_right(self.values, value)
        return self.shares[index - 1] if index else 0.0

    def step(self, share: float) -> Step:
        """The step at the quantile of `share`: the smallest value with at least that share at or below it.

        Beyond the last step, the longest observation, which is then a lower bound.
        """
        index = bisect_left(self.shares, share - 1e-9)
        below = self.shares[index - 1] if index else 0.0
        if index == len(self.values):
            return Step(self.longest, below, 1.0)
        return Step(self.values[index], below, self.shares[index])


TAIL_TO = 0.998
TAIL_STEPS = 40
TAIL_LONGER = 2.0
"""Upper bound on the tail, in multiples of the longest observation."""


def with_tail(curve: Curve, known: float) -> Curve:
    """The curve for predicting a new value, with a tail.

    A new value is beyond the longest of `known` ones with probability 1 / (known + 1), since every rank is equally
    likely (split conformal prediction: Vovk et al. 2005). From the last step up to the share `TAIL_TO`, a quarter of
    the values are at least twice as long (a Pareto tail). Without it, the p90 of a job that has waited long while many
    others are pending would be no longer than they have waited so far.
    """
    shares = [share * known / (known + 1) for share in curve.shares]
    if shares[-1] >= TAIL_TO:
        return Curve(curve.values, tuple(shares), curve.longest)
    top, last, most = shares[-1], curve.values[-1], TAIL_LONGER * curve.longest
    tail = [top + (TAIL_TO - top) * step / TAIL_STEPS for step in range(1, TAIL_STEPS + 1)]
    values = [min(most, last * sqrt((1 - top) / (1 - share))) for share in tail]
    return Curve((*curve.values, *values), (*shares, *tail), max(curve.longest, values[-1]))


def kaplan_meier(observations: Iterable[Observation]) -> Curve:
    """Product-limit estimate (Kaplan & Meier 1958) of weighted observations.

    Censored ones are at risk at their own value, so an end at the same value comes first. Raises ValueError without
    observations.
    """
    ordered = sorted(observations, key=itemgetter(0))
    if not ordered:
        raise ValueError("no observations")
    at_risk = sum(one.weight for one in ordered)
    least = at_risk * 1e-12
    surviving = 1.0
    values, shares = [], []
    for value, group in groupby(ordered, key=itemgetter(0)):
        ended = left = 0.0
        for one in group:
            left += one.weight
            ended += one.weight if one.ended else 0.0
        if ended > 0 and at_risk > least:
            surviving *= max(0.0, 1.0 - ended / at_risk)
            values.append(value)
            shares.append(1.0 - surviving)
        at_risk -= left
    return Curve(tuple(values), tuple(shares), ordered[-1].wait_s)
