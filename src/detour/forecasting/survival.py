"""The Kaplan-Meier estimate of how waits are distributed, where some of them have not ended."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from math import log1p
from operator import itemgetter
from typing import NamedTuple

from detour.forecasting.waits import Observation


class Step(NamedTuple):
    value: float
    below: float
    """Share below the value."""
    at: float
    """Share at or below it."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A distribution function in steps. It ends below 1 where the longest observation is censored."""

    values: tuple[float, ...]
    """Where it steps up, ascending."""
    shares: tuple[float, ...]
    """The share at or below each of `values`."""
    longest: float
    """Of all observations, ended or not."""

    def share(self, value: float) -> float:
        """Of values that are at most `value`."""
        index = bisect_right(self.values, value)
        return self.shares[index - 1] if index else 0.0

    def step(self, share: float) -> Step:
        """At the quantile of `share`: the smallest value with as large a share at or below it; beyond the last step the
        longest observation, which is then a lower bound.
        """
        index = bisect_left(self.shares, share - 1e-9)
        below = self.shares[index - 1] if index else 0.0
        if index == len(self.values):
            return Step(self.longest, below, 1.0)
        return Step(self.values[index], below, self.shares[index])


TAIL_TO = 0.995
TAIL_STEPS = 40
TAIL_LONGER = 2.0
"""Times the longest observation: no tail says more than that."""


def with_tail(curve: Curve) -> Curve:
    """The curve continued by an exponential tail through its last step, up to the share `TAIL_TO` (Brown, Hollander &
    Korwar 1974), where it ends below that because its longest observations are censored. Without it the p90 of a job
    that has waited for long, while many others wait, would be no more than how long they have waited so far.
    """
    top = curve.shares[-1] if curve.shares else 1.0
    if top >= TAIL_TO:
        return curve
    last, most = curve.values[-1], TAIL_LONGER * curve.longest
    shares = [top + (TAIL_TO - top) * step / TAIL_STEPS for step in range(1, TAIL_STEPS + 1)]
    values = [min(most, last * log1p(-share) / log1p(-top)) for share in shares]
    return Curve(curve.values + tuple(values), curve.shares + tuple(shares), max(curve.longest, values[-1]))


def kaplan_meier(observations: Iterable[Observation]) -> Curve:
    """Product-limit estimate (Kaplan & Meier 1958), observations weighted; censored ones count as at risk at their own
    value, so that an end at the same value comes first. Raises ValueError without observations.
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
