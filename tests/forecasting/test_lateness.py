"""A p90 becomes longer when too many bursts were later than theirs, at once and no more than that."""

from __future__ import annotations

from math import exp, sqrt

import pytest

from detour.forecasting.lateness import EXPECTED, GAIN, LEAST, MOST, Lateness
from detour.forecasting.waits import HOUR_S, Shape, Wait

P90_S = 10 * HOUR_S
NOW_S = 40 * HOUR_S


def stretch(late: int, on_time: int, *, started: bool = True) -> float:
    """After so many bursts that began 40 hours ago and waited for 20 hours, or for 5."""
    lateness = Lateness()
    for number in range(late + on_time):
        is_late = number < late
        wait_s = (20 if is_late else 5) * HOUR_S
        start_s = wait_s if started or not is_late else None
        lateness.remember(Wait(str(number), "own", Shape(4, 3), 0.0, start_s), P90_S)
    return lateness.stretched_s(P90_S, NOW_S) / P90_S


def test_as_many_late_ones_as_there_should_be_change_nothing() -> None:
    assert stretch(late=2, on_time=18) == 1.0
    assert stretch(late=0, on_time=20) == 1.0


def test_what_chance_explains_changes_nothing() -> None:
    assert stretch(late=3, on_time=17) == 1.0


def test_more_make_it_longer_by_what_is_beyond_chance() -> None:
    beyond = 0.2 - EXPECTED - sqrt(EXPECTED * (1 - EXPECTED) / 40)
    assert stretch(late=8, on_time=32) == pytest.approx(exp(GAIN * beyond))


def test_it_has_a_limit() -> None:
    assert stretch(late=20, on_time=0) == MOST


def test_a_burst_that_waits_beyond_its_p90_is_late_before_it_starts() -> None:
    assert stretch(late=8, on_time=32, started=False) == pytest.approx(stretch(late=8, on_time=32))


def test_one_that_waits_within_its_p90_says_nothing_yet() -> None:
    lateness = Lateness()
    for number in range(20):
        lateness.remember(Wait(str(number), "own", Shape(4, 3), NOW_S - HOUR_S), P90_S)
    assert lateness.stretched_s(P90_S, NOW_S) == P90_S


def test_a_few_bursts_say_nothing() -> None:
    assert stretch(late=LEAST - 1, on_time=0) == 1.0
