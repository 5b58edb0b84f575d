"""Quantities: accepted and refused forms; writing and reading are inverse."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.config.quantities import parse_count, parse_duration_s
from detour.text import format_count, format_duration

SUFFIXES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("10B", 10**10),
        ("0.25B", 250_000_000),
        ("100M", 10**8),
        ("60k", 60_000),
        ("3_145_728", 3_145_728),
        ("3,145,728", 3_145_728),
        (" 1 B ", 10**9),
        ("1e9", 10**9),
        ("2.5e3", 2500),
        ("1.5T", 1_500_000_000_000),
        (1e9, 10**9),
        (7, 7),
    ],
)
def test_counts_are_read_as_people_write_them(written: object, value: int) -> None:
    assert parse_count(written) == value
    assert isinstance(parse_count(written), int)


@pytest.mark.parametrize("written", ["", "ten", "10 Bn", "1.2.3", "-5", "+5", "0x10", "1e-3k", "1.5", "0.1k2", True])
def test_an_invalid_count_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match=r"quantity|whole number"):
        parse_count(written)


@pytest.mark.parametrize("written", ["0,25B", "1,5k", "0,250B", "10,00", "1,2,3"])
def test_a_decimal_comma_is_refused_instead_of_dropped(written: str) -> None:
    with pytest.raises(ValueError, match=f"'{written}' is not a quantity: write 3145728, 100M, 0.25B or 10B"):
        parse_count(written)


@given(number=st.integers(0, 10**6), suffix=st.sampled_from(sorted(SUFFIXES)))
def test_a_suffix_multiplies(number: int, suffix: str) -> None:
    assert parse_count(f"{number}{suffix}") == number * SUFFIXES[suffix]


@given(st.decimals(min_value=0, max_value=999, places=3), st.sampled_from(["k", "M", "B", "T"]))
def test_decimals_are_exact(number: Decimal, suffix: str) -> None:
    assert parse_count(f"{number}{suffix}") == int(number * SUFFIXES[suffix])


@given(st.integers(0, 10**15))
def test_a_count_in_digits_survives_the_round_trip(number: int) -> None:
    assert parse_count(f"{number:_}") == parse_count(f"{number:,}") == parse_count(str(number)) == number


@given(st.integers(1, 999), st.sampled_from([1, 10**3, 10**6, 10**9, 10**12]))
def test_a_count_of_three_digits_survives_printing_and_reading(digits: int, scale: int) -> None:
    assert parse_count(format_count(digits * scale)) == digits * scale


@given(st.integers(1, 10**15))
def test_a_printed_count_is_close_to_the_count(number: int) -> None:
    read = parse_count(format_count(number))
    assert isinstance(read, int)
    assert abs(read - number) <= number * 0.005


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_durations_in_units_and_clock_form_agree(days: int, hours: int, minutes: int, seconds: int) -> None:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assert parse_duration_s(f"{days}d {hours}h {minutes}m {seconds}s") == total
    assert parse_duration_s(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == total


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("20h", 72_000),
        ("90m", 5400),
        ("1h30", 5400),
        ("1h30min", 5400),
        ("02:00:00", 7200),
        ("1-02:00", 93_600),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("60s", 60),
        ("5s", 5),
        ("1h30m10s", 5410),
    ],
)
def test_durations_are_read_as_people_write_them(written: str, seconds: int) -> None:
    assert parse_duration_s(written) == seconds


@pytest.mark.parametrize("written", [3600, "3600", "1.5", True, "", "soon", "1h 2h", "1:2:3:4"])
def test_a_duration_needs_a_unit(written: object) -> None:
    with pytest.raises(ValueError, match=r"has no unit|is not a duration"):
        parse_duration_s(written)


@pytest.mark.parametrize(
    ("written", "ways"), [("02:00", "02m00s or 02h00"), ("30:00", "30m00s or 30h00"), ("2:30", "2m30s or 2h30")]
)
def test_a_clock_of_two_parts_is_refused_because_slurm_reads_minutes(written: str, ways: str) -> None:
    with pytest.raises(ValueError, match=f"write {ways}$"):
        parse_duration_s(written)


def test_unknown_is_not_zero() -> None:
    assert format_count(None) == "unknown"
    assert format_duration(None) == "unknown"
    assert format_duration(59) == "59s"
    assert format_duration(8100) == "2h15m"
