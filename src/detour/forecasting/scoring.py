"""How good forecasts were: the share of waits that ended within them, and the pinball loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Score:
    n: int
    coverage_p50: float
    """Share of starts that were not later than the p50."""
    coverage_p90: float
    pinball_s: float
    """Mean of the losses of p50 and p90, each in seconds; the least for the true quantiles (Koenker & Bassett 1978)."""


def pinball_s(actual_s: float, quantile_s: float, share: float) -> float:
    return max(share * (actual_s - quantile_s), (share - 1) * (actual_s - quantile_s))


def score(outcomes: Iterable[tuple[float, float, float]]) -> Score | None:
    """Of (p50, p90, actual), in seconds on one scale; None of none."""
    known = list(outcomes)
    if not known:
        return None
    return Score(
        n=len(known),
        coverage_p50=fmean(actual <= p50 for p50, _, actual in known),
        coverage_p90=fmean(actual <= p90 for _, p90, actual in known),
        pinball_s=fmean((pinball_s(y, p50, 0.5) + pinball_s(y, p90, 0.9)) / 2 for p50, p90, y in known),
    )
