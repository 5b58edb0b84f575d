"""Periods as users write them, and attempts split at their boundaries."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.fates import Fates, fates_s
from detour.accounting.hours import AttemptUsage
from detour.errors import UserError
from detour.reporting.period import Period, period_of
from tests.support.times import utc_s

NOW_S = datetime(2026, 8, 15, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("written", "since", "until"),
    [
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-Q3", "2026-07-01", "2026-10-01"),
        ("2026-Q4", "2026-10-01", "2027-01-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        ("2024-02", "2024-02-01", "2024-03-01"),
        ("2024-02-29", "2024-02-29", "2024-03-01"),
    ],
)
def test_a_period_ends_where_the_next_one_begins(written: str, since: str, until: str) -> None:
    assert period_of(written, None, None, NOW_S) == Period(utc_s(since), utc_s(until))


def test_a_month_follows_the_time_zone_across_clock_changes() -> None:
    march = period_of("2026-03", None, None, NOW_S, "Europe/Paris")
    assert march == Period(utc_s("2026-02-28T23:00"), utc_s("2026-03-31T22:00"), "Europe/Paris")
    day = period_of(None, "2026-10-25", "2026-10-25", NOW_S, "Europe/Paris")
    assert day == Period(utc_s("2026-10-24T22:00"), utc_s("2026-10-25T23:00"), "Europe/Paris")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "America/New_York", "Pacific/Auckland"])
def test_the_months_of_a_year_cover_every_second_once(zone: str) -> None:
    year = period_of("2026", None, None, NOW_S, zone)
    months = [period_of(f"2026-{month:02d}", None, None, NOW_S, zone) for month in range(1, 13)]
    assert (months[0].since_s, months[-1].until_s) == (year.since_s, year.until_s)
    assert [one.until_s for one in months[:-1]] == [one.since_s for one in months[1:]]


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(UserError, match="no time zone 'Paris'"):
        period_of(None, None, None, NOW_S, "Paris")


def test_the_last_day_is_included_and_days_can_be_counted_back() -> None:
    assert period_of(None, "2026-06", "2026-07-14", NOW_S) == Period(utc_s("2026-06-01"), utc_s("2026-07-15"))
    assert period_of(None, "30d", None, NOW_S) == Period(NOW_S - 30 * 86_400, None)
    assert period_of(None, None, None, NOW_S) == Period()


@pytest.mark.parametrize("written", ["", "2026-13", "2026-Q5", "2026-02-30", "Q3", "0000", "9999", "2026-1", "soon"])
def test_an_invalid_period_is_refused_with_the_valid_forms(written: str) -> None:
    with pytest.raises(UserError, match=r"--period .* is not a period: write a year, quarter, month or day"):
        period_of(written, None, None, NOW_S)


def test_contradictory_options_are_refused() -> None:
    with pytest.raises(UserError, match="leave out --since and --until"):
        period_of("2026", "2026-01", None, NOW_S)
    with pytest.raises(UserError, match="--until 2025 is before --since 2026"):
        period_of(None, "2026", "2025", NOW_S)


instants = st.floats(0, 1000)
cuts = st.fixed_dictionaries(
    {name: st.none() | instants for name in ("worked_from_s", "ready_s", "saved_s", "worked_until_s")}
)
attempts = st.builds(
    lambda start_s, length_s, cuts, failed, running: AttemptUsage(
        "a", "stage", start_s, start_s + length_s, 4, 96, failed=failed, running=running, **cuts
    ),
    instants,
    instants,
    cuts,
    st.booleans(),
    st.booleans(),
)


@given(attempts, st.lists(instants, max_size=4))
def test_the_parts_of_adjacent_periods_add_up_to_the_whole_by_fate(
    usage: AttemptUsage, boundaries: list[float]
) -> None:
    edges = [None, *sorted(boundaries), None]
    parts = [Period(*pair).part_of(usage) for pair in pairwise(edges)]
    added = Fates.sum(fates_s(part) for part in parts if part is not None)
    whole = fates_s(usage)
    for name in ("useful", "startup", "redone", "failed", "idle"):
        assert getattr(added, name) == pytest.approx(getattr(whole, name), abs=1e-6)


def test_an_attempt_outside_a_period_has_no_part_and_an_instant_belongs_to_one_period() -> None:
    point = AttemptUsage("a", "stage", 5.0, 5.0, 1, 1)
    assert Period(0.0, 5.0).part_of(AttemptUsage("a", "stage", 5.0, 9.0, 1, 1)) is None
    assert Period(5.0, 9.0).part_of(point) == point
    assert Period(6.0, None).part_of(point) is None
