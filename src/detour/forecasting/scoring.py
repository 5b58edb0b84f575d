"""How good forecasts were: the share of waits that ended within them, and the pinball loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from detour.forecasting.loss import pair_loss_s


@dataclass(frozen=True, slots=True)
class Score:
    n: int
    coverage_p50: float
    """Share of starts that were not later than the p50."""
    coverage_p90: float
    before_p50: float
    """Share of starts that were earlier than the p50: less than half if many waits equal it."""
    before_p90: float
    pinball_s: float
    """Mean of `pair_loss_s`."""


def score(outcomes: Iterable[tuple[float, float, float]]) -> Score | None:
    """The score of (p50, p90, actual) triples, in seconds on one scale; None if there are none."""
    known = list(outcomes)
    if not known:
        return None
    return Score(
        n=len(known),
        coverage_p50=fmean(actual <= p50 for p50, _, actual in known),
        coverage_p90=fmean(actual <= p90 for _, p90, actual in known),
        before_p50=fmean(actual < p50 for p50, _, actual in known),
        before_p90=fmean(actual < p90 for _, p90, actual in known),
        pinball_s=fmean(pair_loss_s(*one) for one in known),
    )
