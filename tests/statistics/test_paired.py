"""Tests agree with scipy, intervals have their stated coverage, and what cannot be computed is None."""

from __future__ import annotations

import random
import statistics

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.statistics.paired import detectable, holm, mean_interval, paired, sign_test, wilcoxon

differences = st.lists(st.integers(-40, 40).map(lambda tenths: tenths / 10), min_size=2, max_size=7)


@given(differences)
def test_the_sign_test_is_the_binomial_test_without_ties(values: list[float]) -> None:
    found = sign_test(values)
    assert found.wins + found.losses + found.ties == len(values)
    if n := found.wins + found.losses:
        assert found.p_one_sided == scipy.stats.binomtest(found.wins, n, alternative="greater").pvalue
        assert found.p_two_sided == scipy.stats.binomtest(found.wins, n, alternative="two-sided").pvalue


def test_eight_wins_of_eight_are_one_in_256() -> None:
    found = sign_test([4.9, 3.3, 6.1, 2.0, 1.1, 4.0, 0.1, 0.5])
    assert (found.p_one_sided, found.p_two_sided) == (2**-8, 2**-7)


@settings(max_examples=25, deadline=None)
@given(differences.filter(lambda values: len(set(values)) > 1))
def test_paired_tests_agree_with_scipy(values: list[float]) -> None:
    first = [70.0 + value for value in values]
    found = paired([a - 70.0 for a in first])
    expected = scipy.stats.ttest_rel(first, [70.0] * len(values))
    assert found.p_t == pytest.approx(expected.pvalue)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    if any(values):
        assert wilcoxon(values) == pytest.approx(scipy.stats.wilcoxon(values).pvalue)


@pytest.mark.parametrize("seeds", [3, 9])
def test_an_interval_covers_the_true_difference_95_times_in_100(seeds: int) -> None:
    draw = random.Random(7)
    intervals = [mean_interval([draw.gauss(70, 2) for _ in range(seeds)]) for _ in range(3000)]
    assert 0.93 <= statistics.fmean(i is not None and i.low <= 70 <= i.high for i in intervals) <= 0.97


def test_the_bootstrap_of_nine_seeds_covers_the_true_difference_95_times_in_100() -> None:
    draw = random.Random(8)
    intervals = [paired([draw.gauss(1, 2) for _ in range(9)]).bootstrap for _ in range(200)]
    assert 0.93 <= statistics.fmean(i is not None and i.low <= 1 <= i.high for i in intervals) <= 0.97


def test_the_p_of_the_bootstrap_says_the_same_as_its_interval() -> None:
    draw = random.Random(5)
    for _ in range(60):
        found = paired([draw.expovariate(1) - draw.choice((0.0, 0.4, 0.8)) for _ in range(draw.choice((5, 9)))])
        assert found.bootstrap is not None
        assert found.p_bootstrap is not None
        assert (found.p_bootstrap <= 0.05) == (not found.bootstrap.low <= 0 <= found.bootstrap.high)


def test_the_same_scores_give_the_same_bootstrap() -> None:
    values = [0.3, 1.2, -0.4, 0.9, 2.1]
    assert paired(values) == paired(values)


def test_a_difference_without_spread_has_no_interval_and_no_p() -> None:
    found = paired([0.5, 0.5, 0.5])
    assert (found.mean, found.interval, found.p_t, found.bootstrap, found.detectable) == (0.5, None, None, None, None)


def test_a_single_pair_has_only_a_difference() -> None:
    found = paired([0.5])
    assert (found.mean, found.standard_deviation, found.interval, found.p_t, found.p_wilcoxon) == (0.5, *[None] * 4)


@pytest.mark.parametrize(("n", "spreads"), [(3, 3.26), (5, 1.68), (9, 1.07), (30, 0.53)])
def test_the_smallest_detectable_difference_is_detected_four_times_in_five(n: int, spreads: float) -> None:
    """In standard deviations, as in tables of the power of paired t-tests."""
    assert detectable(1.0, n) == pytest.approx(spreads, abs=0.01)


def test_holm_scales_p_values_by_rank_and_keeps_their_order() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
