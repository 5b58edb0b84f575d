"""Pace, forecast and exhaustion, by hand and as properties."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.energy import Band
from detour.budgets.burn import ROWS, Piece, burn, used
from detour.times import DAY_S, local, midnight_s

PARIS = "Europe/Paris"

PIECES = st.lists(
    st.builds(
        lambda start, days, amount: Piece(start * DAY_S, (start + days) * DAY_S, amount),
        st.floats(0, 300),
        st.floats(0, 10),
        st.floats(0, 100),
    ),
    max_size=12,
)


def every_day(first: int, last: int, amount: float) -> list[Piece]:
    return [Piece(day * DAY_S, (day + 1) * DAY_S, amount) for day in range(first, last)]


def values(band: Band | None) -> list[float]:
    assert band is not None
    return [band.low, band.expected, band.high]


def test_even_spending_is_on_pace_and_ends_at_the_cap() -> None:
    one = burn(every_day(0, 50, 2.0), 0.0, 200.0, 50 * DAY_S, (0.0, 100 * DAY_S))
    assert one.spent == one.pace == pytest.approx(100.0)
    assert values(one.rate_per_day) == pytest.approx([2.0] * 3)
    assert values(one.forecast) == pytest.approx([200.0] * 3)
    assert [row.spent for row in one.rows] == pytest.approx([row.pace for row in one.rows])


def test_fast_spending_is_exhausted_early_with_a_range_of_rates() -> None:
    one = burn([*every_day(0, 30, 1.0), *every_day(30, 58, 4.0)], 0.0, 200.0, 58 * DAY_S, (0.0, 100 * DAY_S))
    assert one.spent == 142.0
    assert values(one.rate_per_day) == pytest.approx([142 / 58, 4.0, 4.0])
    early, expected, late = one.exhausted_s()
    assert early == expected == pytest.approx((58 + 58 / 4) * DAY_S)
    assert late == pytest.approx((58 + 58 / (142 / 58)) * DAY_S)
    assert one.lapses is None


def test_a_cap_that_lasts_for_centuries_has_no_day_on_which_it_is_used_up() -> None:
    one = burn([Piece(0.0, DAY_S, 0.1), Piece(60 * DAY_S, 61 * DAY_S, 90.0)], 0.0, 3e5, 61 * DAY_S, (None, None))
    early_s, expected_s, late_s = one.exhausted_s()
    assert early_s == pytest.approx((61 + (3e5 - 90.1) * 7 / 90) * DAY_S), "in 2034"
    assert (expected_s, late_s) == (None, None), "in 2225 and 2527"


def test_hours_that_will_expire_are_reported_with_their_range() -> None:
    one = burn(every_day(0, 50, 1.0), 5.0, 200.0, 50 * DAY_S, (0.0, 100 * DAY_S))
    assert values(one.forecast) == pytest.approx([100.0] * 3)
    assert values(one.lapses) == pytest.approx([100.0] * 3)
    assert one.exhausted_s() == (None, None, None)


def test_the_forecast_is_at_least_what_is_reserved() -> None:
    one = burn(every_day(0, 10, 1.0), 150.0, 200.0, 90 * DAY_S, (0.0, 100 * DAY_S))
    assert one.forecast is not None
    assert one.forecast.low == 160.0


def test_without_bounds_there_is_a_rate_but_no_pace() -> None:
    one = burn(every_day(10, 60, 2.0), 0.0, 200.0, 60 * DAY_S, (None, None))
    assert one.start_s == 10 * DAY_S
    assert one.pace is None
    assert one.forecast is None
    assert one.lapses is None
    assert one.exhausted_s()[1] == pytest.approx(110 * DAY_S)


def test_the_first_day_gives_no_rate() -> None:
    one = burn([Piece(0.0, 3600.0, 5.0)], 0.0, 200.0, 7200.0, (0.0, 100 * DAY_S))
    assert one.spent == 5.0
    assert (one.rate_per_day, one.forecast) == (None, None)


def test_an_unused_budget_is_no_error() -> None:
    one = burn([], 0.0, None, 0.0, (None, None))
    assert one.spent == 0.0
    assert one.pace is None
    assert one.forecast is None


@given(PIECES, st.floats(1, 400))
def test_rows_add_up_to_the_amount_spent_and_never_fall(pieces: list[Piece], now_days: float) -> None:
    one = burn(pieces, 0.0, 100.0, now_days * DAY_S, (0.0, 365 * DAY_S))
    spent = [row.spent for row in one.rows]
    assert spent == sorted(spent)
    assert one.rows[-1].spent == one.spent
    assert len(one.rows) <= ROWS + 1
    assert one.rate_per_day is None or one.rate_per_day.low <= one.rate_per_day.expected <= one.rate_per_day.high


@given(PIECES, st.floats(0, 300), st.floats(0, 300), st.floats(0, 300))
def test_the_parts_of_a_period_add_up_to_the_whole(pieces: list[Piece], a: float, b: float, c: float) -> None:
    first, middle, last = (day * DAY_S for day in sorted((a, b, c)))
    parts = used(pieces, first, middle) + used(pieces, middle, last)
    assert parts == pytest.approx(used(pieces, first, last), abs=1e-6)


def test_a_period_that_ends_at_midnight_has_that_time_once() -> None:
    one = burn([Piece(0.0, DAY_S, 5.0)], 0.0, None, 2 * DAY_S, (0.0, None))
    assert [(row.at_s, row.spent) for row in one.rows] == [(DAY_S, 5.0), (2 * DAY_S, 5.0)]


def test_rows_are_at_midnight_of_the_time_zone_across_clock_changes() -> None:
    start_s, now_s = (midnight_s(date(2026, month, 20), PARIS) for month in (10, 11))
    one = burn([Piece(start_s, now_s, 31.0)], 0.0, 100.0, now_s + 3600.0, (start_s, None), PARIS)
    whole_weeks = [local(row.at_s, PARIS) for row in one.rows[:-1]]
    assert [(at.day, at.hour) for at in whole_weeks] == [(27, 0), (3, 0), (10, 0), (17, 0)]


def test_rows_are_at_midnight_also_if_the_first_use_was_not() -> None:
    start_s, now_s = 0.6 * DAY_S, 5.8 * DAY_S
    one = burn([Piece(start_s, now_s, 52.0)], 0.0, None, now_s, (start_s, None))
    assert [row.at_s / DAY_S for row in one.rows] == pytest.approx([1, 2, 3, 4, 5, 5.8])
    assert [row.spent for row in one.rows] == pytest.approx([4.0, 14.0, 24.0, 34.0, 44.0, 52.0])
