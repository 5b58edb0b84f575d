"""A queue is as slow as its jobs that have not started show."""

from __future__ import annotations

import math

import pytest

from detour.forecasting.bursts import Burst
from detour.forecasting.pace import FADING, PRIOR, Pace, Paces
from detour.forecasting.survival import kaplan_meier
from detour.forecasting.waits import HOUR_S, Observation, Shape, Wait

CURVE = kaplan_meier(Observation(hours * HOUR_S, True) for hours in range(1, 101))
"""Waits of 1 to 100 h."""


def pace(*hours: float | None, jobs: int = 1, now_h: float = 1000.0) -> Pace:
    """At `now_h`, after bursts that all began at time 0 and waited this long, or are still pending."""
    paces = Paces()
    for one in hours:
        burst = Burst("own", 0)
        paces.remember(burst, CURVE)
        for index in range(jobs):
            burst.add(Wait(str(index), "own", Shape(4, 3), 0.0, None if one is None else one * HOUR_S))
    return paces.at(now_h * HOUR_S)


def test_without_bursts_the_queue_is_as_it_was() -> None:
    assert pace() == (PRIOR, PRIOR)


def test_a_start_at_the_median_was_expected_by_the_logarithm_of_two() -> None:
    assert pace(50.0) == pytest.approx((PRIOR + 1, PRIOR + math.log(2)), abs=0.01)


def test_a_job_that_waits_shows_a_slow_queue_before_it_starts() -> None:
    assert pace(None, now_h=50.0) == pytest.approx((PRIOR, PRIOR + math.log(2)), abs=0.01)
    assert pace(80.0, now_h=50.0) == pace(None, now_h=50.0)


@pytest.mark.parametrize("hours", [10.0, None])
def test_a_burst_counts_once_whatever_its_size(hours: float | None) -> None:
    assert pace(hours, jobs=100) == pytest.approx(pace(hours))


def test_old_bursts_fade() -> None:
    before, after = pace(1.0, *[50.0] * 20), pace(*[50.0] * 20, 1.0)
    assert after.seen == pytest.approx(before.seen)
    assert before.expected - after.expected == pytest.approx((1 - math.exp(-20 / FADING)) * math.log(2), abs=0.02)


def test_what_starts_at_once_says_nothing_of_the_pace() -> None:
    idle = kaplan_meier(
        [*[Observation(0.0, True)] * 90, *[Observation(hours * HOUR_S, True) for hours in range(1, 11)]]
    )
    paces = Paces()
    for wait_s in (0.0, 30.0, 5 * HOUR_S):
        burst = Burst("own", 0)
        paces.remember(burst, idle)
        burst.add(Wait("1", "own", Shape(4, 3), 0.0, wait_s))
    among_waiting = idle.hazard(5 * HOUR_S) - idle.hazard(0.0)
    assert paces.at(1000 * HOUR_S) == pytest.approx((PRIOR + 1, PRIOR + among_waiting))


@pytest.mark.parametrize("usual", [0.7, 2.3])
def test_a_slow_queue_asks_for_a_later_quantile_and_an_unsure_one_too(usual: float) -> None:
    assert Pace(1e9, 1e9).hazard(usual) == pytest.approx(usual)
    assert Pace(5e8, 1e9).hazard(usual) == pytest.approx(2 * usual)
    assert Pace(10.0, 10.0).hazard(usual) > usual
