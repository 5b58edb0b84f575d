"""The Kaplan-Meier estimate, compared with scipy's and with computation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from detour.forecasting.survival import TAIL_TO, kaplan_meier, with_tail
from detour.forecasting.waits import Observation

WAITS = st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60)


@settings(deadline=None)
@given(WAITS)
def test_the_estimate_equals_scipys(waits: list[tuple[int, bool]]) -> None:
    made = kaplan_meier(Observation(wait, ended) for wait, ended in waits)
    ended = [wait for wait, has_ended in waits if has_ended]
    right = [wait for wait, has_ended in waits if not has_ended]
    oracle = ecdf(CensoredData(uncensored=ended, right=right)).cdf
    points = range(-1, 32)
    assert [made.share(point) for point in points] == pytest.approx(list(oracle.evaluate(np.array(points))))


def test_a_censored_wait_passes_its_share_to_longer_ones() -> None:
    """For 1, 2+, 3, 4: a quarter by 1; then half of the remaining three quarters by 3."""
    made = kaplan_meier([Observation(1, True), Observation(2, False), Observation(3, True), Observation(4, True)])
    assert made.values == (1, 3, 4)
    assert made.shares == pytest.approx((0.25, 0.625, 1.0))


@given(WAITS, st.integers(2, 5))
def test_a_weight_counts_like_that_many_equal_observations(waits: list[tuple[int, bool]], times: int) -> None:
    repeated = kaplan_meier(Observation(wait, ended) for wait, ended in waits for _ in range(times))
    weighted = kaplan_meier(Observation(wait, ended, times) for wait, ended in waits)
    assert weighted.values == repeated.values
    assert weighted.shares == pytest.approx(repeated.shares)


@given(WAITS, st.floats(0.01, 1))
def test_a_quantile_is_the_first_value_that_reaches_its_share(waits: list[tuple[int, bool]], share: float) -> None:
    made = kaplan_meier(Observation(wait, ended) for wait, ended in waits)
    value = made.step(share).value
    reached = [step for step, at in zip(made.values, made.shares, strict=True) if at >= share - 1e-9]
    assert value == (reached[0] if reached else max(wait for wait, _ in waits))


def test_a_quantile_beyond_the_last_step_is_the_longest_wait_so_far() -> None:
    made = kaplan_meier([Observation(1, True), Observation(5, False)])
    assert made.step(0.5) == (1, 0.0, 0.5)
    assert made.step(0.9) == (5, 0.5, 1.0)


@given(WAITS, st.floats(0.01, 1))
def test_a_share_lies_on_the_step_of_its_quantile(waits: list[tuple[int, bool]], share: float) -> None:
    step = kaplan_meier(Observation(wait, ended) for wait, ended in waits).step(share)
    assert 0 <= step.below < share <= step.at + 1e-9


def test_the_longest_of_ten_values_is_exceeded_once_in_eleven() -> None:
    made = with_tail(kaplan_meier(Observation(value, True) for value in range(1, 11)), 10)
    assert made.share(10) == pytest.approx(10 / 11)


def test_a_quarter_of_the_waits_beyond_the_last_step_are_twice_as_long() -> None:
    """Half by 2 h, with so many values that none is missing: an eighth is left at 4 h, then at most twice 4 h."""
    made = with_tail(kaplan_meier([Observation(2, True), Observation(4, False)]), 1e9)
    assert made.step(0.5).value == 2
    assert made.step(0.875).value == pytest.approx(4, rel=0.1)
    assert made.longest == made.step(0.99).value == 8


@given(WAITS, st.floats(1, 100))
def test_a_tail_keeps_the_steps_and_ends_near_one(waits: list[tuple[int, bool]], known: float) -> None:
    seen = kaplan_meier(Observation(wait, ended) for wait, ended in waits)
    assume(seen.shares)
    made = with_tail(seen, known)
    assert made.values[: len(seen.values)] == seen.values
    assert list(made.values) == sorted(made.values)
    assert list(made.shares) == sorted(made.shares)
    assert made.shares[-1] == pytest.approx(TAIL_TO, abs=0.002)


@settings(deadline=None)
@given(WAITS)
def test_the_expected_number_of_ends_equals_the_observed_one(waits: list[tuple[int, bool]]) -> None:
    """For the observations that the curve is made from."""
    made = kaplan_meier(Observation(wait, ended) for wait, ended in waits)
    assert sum(made.hazard(wait) for wait, _ in waits) == pytest.approx(sum(ended for _, ended in waits))


def test_an_empty_set_has_no_distribution() -> None:
    with pytest.raises(ValueError, match="no observations"):
        kaplan_meier([])
