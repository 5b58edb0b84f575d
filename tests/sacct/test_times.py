"""Times in every form."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from detour.sacct.times import time_parser

NOON_S = 1_772_366_400
"""2026-03-01T12:00:00Z."""


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00",
        "2026-03-01 12:00:00",
        "2026-03-01T12:00:00Z",
        "2026-03-01T13:00:00+01:00",
        "2026-03-01 13:00:00+0100",
        "2026-03-01T07:00:00 -0500",
        "2026-03-01 12:00:00 UTC",
        "2026-03-01T12:00:00.000",
        "1772366400",
        "1772366400.0",
        "1772366400000",
    ],
)
def test_every_form_of_a_time_is_the_same_time(text: str) -> None:
    assert time_parser(UTC)(text) == NOON_S


def test_a_fraction_of_a_second_is_kept() -> None:
    assert time_parser(UTC)("2026-03-01T12:00:00.25") == NOON_S + 0.25


@pytest.mark.parametrize("text", ["", "Unknown", "None", "N/A", "NaT", "0", "1970-01-01T00:00:00"])
def test_missing_times_are_unknown(text: str) -> None:
    assert time_parser(UTC)(text) is None


@pytest.mark.parametrize("text", ["2100-01-01T00:00:00", "9999-12-31T23:00:00", "1969-12-01T00:00:00", "1e308", "-inf"])
def test_an_impossible_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a time between 1970 and 2100"):
        time_parser(UTC)(text)


def test_seconds_since_the_epoch_do_not_depend_on_the_zone() -> None:
    assert time_parser(ZoneInfo("Europe/Paris"))("1970-01-01T00:00:00") is None


def test_local_times_follow_the_zone_even_on_days_of_a_clock_change() -> None:
    paris = time_parser(ZoneInfo("Europe/Paris"))
    assert paris("2026-03-01T13:00:00") == NOON_S
    before, after = paris("2026-03-29T01:30:00"), paris("2026-03-29T03:30:00")
    assert before is not None
    assert after is not None
    assert after - before == 3600


def test_the_form_of_seconds_since_the_epoch_can_be_named() -> None:
    assert time_parser(UTC, "%s")("1772323200") == 1_772_323_200


def test_any_other_form_can_be_named() -> None:
    assert time_parser(UTC, "%d/%m/%Y %H:%M")("01/03/2026 12:00") == NOON_S
    with pytest.raises(ValueError, match="a time of the form '%d/%m/%Y %H:%M'"):
        time_parser(UTC, "%d/%m/%Y %H:%M")("2026-03-01T12:00:00")
    with pytest.raises(ValueError, match="a time of the form '%Y%Y'"):
        time_parser(UTC, "%Y%Y")("20262026")


@pytest.mark.parametrize("text", ["2026-02-30T00:00:00", "2026-03-01T24:00:00", "2026-03-01T12:60:00", "12:00"])
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        time_parser(UTC)(text)
