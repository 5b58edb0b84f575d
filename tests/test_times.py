"""Days in a time zone, across changes of its clocks."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.errors import UserError
from detour.times import DAY_S, days_later_s, local, midnight_s, zone_of
from tests.support.times import utc_s

ZONES = ["UTC", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]


def test_a_day_begins_at_local_midnight_in_summer_and_winter() -> None:
    assert midnight_s(date(2026, 7, 1), "Europe/Paris") == utc_s("2026-06-30 22:00")
    assert midnight_s(date(2026, 12, 1), "Europe/Paris") == utc_s("2026-11-30 23:00")
    assert midnight_s(date(2026, 7, 1)) == utc_s("2026-07-01 00:00")


def test_days_of_a_clock_change_have_23_and_25_hours() -> None:
    spring, autumn = (midnight_s(day, "Europe/Paris") for day in (date(2026, 3, 29), date(2026, 10, 25)))
    assert days_later_s(spring, 1, "Europe/Paris") - spring == 23 * 3600
    assert days_later_s(autumn, 1, "Europe/Paris") - autumn == 25 * 3600


@given(st.dates(date(2000, 1, 1), date(2037, 1, 1)), st.integers(1, 400), st.sampled_from(ZONES))
def test_whole_days_later_it_is_midnight_again(day: date, days: int, zone: str) -> None:
    later = local(days_later_s(midnight_s(day, zone), days, zone), zone)
    assert (later.hour, later.minute) == (0, 0)
    assert (later.date() - day).days == days


def test_without_a_zone_a_day_has_exactly_86400_seconds() -> None:
    assert days_later_s(0.1234567, 3) == 0.1234567 + 3 * DAY_S


@pytest.mark.parametrize("name", ["", "Paris", "../etc/passwd", "Europe/Nowhere", "CEST "])
def test_an_unknown_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(UserError, match="no time zone"):
        zone_of(name)
