"""Statistics of paired differences: intervals, tests, corrections, and the smallest detectable difference.

Computed by scipy, independent of models. scipy takes a second to import, so it is imported where it is used.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 9_999
RESAMPLING_SEED = 0
"""Fixed seed, so that the same scores give exactly the same bootstrap."""
FEWEST_RESAMPLED = 5
"""Minimum number of differences for the bootstrap; with fewer, too many resamples repeat a single value."""
FEWEST_TASKS = 5
"""Minimum number of tasks for a test: the smallest two-sided p of a sign test over four is 0.125."""


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Signs:
    """The sign test; ties are left out, as usual."""

    wins: int
    losses: int
    ties: int
    p_one_sided: float | None
    """Probability of at least this many wins if both were equally good; None without a win or a loss."""
    p_two_sided: float | None


@dataclass(frozen=True, slots=True)
class Paired:
    """Statistics of n paired differences; None if they are too few or all equal."""

    n: int
    mean: float
    standard_deviation: float | None
    interval: Interval | None
    """Student's interval of the mean."""
    p_t: float | None
    """Paired t-test, two-sided."""
    p_wilcoxon: float | None
    """Wilcoxon signed-rank test, two-sided."""
    signs: Signs
    bootstrap: Interval | None
    """Studentised paired bootstrap of the mean."""
    p_bootstrap: float | None
    detectable: float | None
    """Smallest true difference that a paired t-test on n pairs detects with a power of 80 %."""


def sign_test(differences: Sequence[float]) -> Signs:
    from scipy.stats import binomtest

    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    n = wins + losses
    return Signs(
        wins,
        losses,
        len(differences) - n,
        float(binomtest(wins, n, alternative="greater").pvalue) if n else None,
        float(binomtest(wins, n).pvalue) if n else None,
    )


def wilcoxon(differences: Sequence[float]) -> float | None:
    """Return the two-sided p; None if all differences are 0."""
    if not any(differences):
        return None
    from scipy.stats import wilcoxon as signed_ranks

    return _finite(signed_ranks(differences).pvalue)


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return Student's 95 % interval of the mean; None for fewer than two values, or equal ones."""
    if len(values) < 2 or (deviation := statistics.stdev(values)) == 0:
        return None
    from scipy.stats import t

    centre = statistics.fmean(values)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / sqrt(len(values))
    return Interval(centre - half, centre + half)


def paired(differences: Sequence[float]) -> Paired:
    """Return the statistics of the differences of two models on the same seeds."""
    n = len(differences)
    deviation = statistics.stdev(differences) if n > 1 else None
    has_spread = bool(deviation)
    bootstrap, p_bootstrap = _bootstrap(differences) if has_spread and n >= FEWEST_RESAMPLED else (None, None)
    return Paired(
        n=n,
        mean=statistics.fmean(differences),
        standard_deviation=deviation,
        interval=mean_interval(differences),
        p_t=_t_test(differences) if has_spread else None,
        p_wilcoxon=wilcoxon(differences) if n > 1 else None,
        signs=sign_test(differences),
        bootstrap=bootstrap,
        p_bootstrap=p_bootstrap,
        detectable=detectable(deviation, n) if deviation else None,
    )


def detectable(standard_deviation: float, n: int) -> float:
    """Return the difference that a two-sided paired t-test on n >= 2 pairs of this spread detects with a power of 80 %.

    Under it, T^2 has a noncentral F distribution; the noncentrality with that power is converted to a difference.
    """
    from scipy.optimize import brentq
    from scipy.stats import f, ncf

    free = n - 1
    critical = float(f.ppf(CONFIDENCE, 1, free))

    def lacking(noncentrality: float) -> float:
        return float(ncf.sf(critical, 1, free, noncentrality**2)) - POWER

    return float(brentq(lacking, 0.0, 4 * sqrt(critical))) * standard_deviation / sqrt(n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the adjusted p-values of one family, in order (Holm, Scandinavian Journal of Statistics, 1979)."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for rank, (p, place) in enumerate(known):
        reached = max(reached, min(1.0, p * (len(known) - rank)))
        adjusted[place] = reached
    return adjusted


def _t_test(differences: Sequence[float]) -> float | None:
    from scipy.stats import ttest_1samp

    return _finite(ttest_1samp(differences, 0.0).pvalue)


def _bootstrap(differences: Sequence[float]) -> tuple[Interval | None, float | None]:
    """Return interval and two-sided p from the distribution of t = (mean* - mean) / error* over resamples.

    Both have equal tails, so p is at most 1 - CONFIDENCE if and only if the interval excludes 0.
    Plain percentiles of resampled means are too narrow for a few seeds: they use n instead of n - 1, and the normal
    distribution instead of Student's.
    """
    from scipy.stats import bootstrap

    centre = statistics.fmean(differences)
    error = statistics.stdev(differences) / sqrt(len(differences))

    def t_of(sample: Any, axis: int) -> Any:
        spread = sample.std(axis=axis, ddof=1) / sqrt(len(differences))
        return (sample.mean(axis=axis) - centre) / spread.clip(error * 1e-9)

    drawn = bootstrap((list(differences),), t_of, n_resamples=RESAMPLES, method="percentile", rng=RESAMPLING_SEED)
    values = sorted(float(value) for value in drawn.bootstrap_distribution)
    tail = round((1 - CONFIDENCE) / 2 * (RESAMPLES + 1))
    interval = Interval(centre - values[-tail] * error, centre - values[tail - 1] * error)
    found = centre / error
    beyond = min(sum(value >= found for value in values), sum(value <= found for value in values))
    return interval, min(1.0, 2 * (beyond + 1) / (RESAMPLES + 1))


def _finite(value: Any) -> float | None:
    found = float(value)
    return found if isfinite(found) else None
