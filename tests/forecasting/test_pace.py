"""The pace of a queue, from jobs that have started and jobs that are pending."""

from __future__ import annotations

import math

import pytest

from detour.forecasting.bursts import Burst
from detour.forecasting.pace import FADING, PRIOR, Pace
from detour.forecasting.survival import kaplan_meier
from detour.forecasting.waits import HOUR_S, Observation, Shape, Wait

CURVE = kaplan_meier(Observation(hours * HOUR_S, True) for hours in range(1, 101))
"""Waits of 1 to 100 h."""


def slowness(*hours: float | None, jobs: int = 1, now_h: float = 1000.0) -> float:
    """At `now_h`, after bursts that all began at time 0 and waited this long, or are still pending."""
    pace = Pace()
    for one in hours:
        burst = Burst("own", 0)
        pace.remember(burst, CURVE)
        for index in range(jobs):
            burst.add(Wait(str(index), "own", Shape(4, 3), 0.0, None if one is None else one * HOUR_S))
    return pace.slowness(now_h * HOUR_S)


def test_the_pace_is_as_usual_without_bursts() -> None:
    assert slowness() == 1.0


def test_a_start_at_the_median_had_an_expectation_of_the_logarithm_of_two() -> None:
    assert slowness(50.0) == pytest.approx((PRIOR + math.log(2)) / (PRIOR + 1), abs=0.002)


def test_a_pending_job_shows_a_slow_queue_before_it_starts() -> None:
    assert slowness(None, now_h=50.0) == pytest.approx((PRIOR + math.log(2)) / PRIOR, abs=0.002)
    assert slowness(80.0, now_h=50.0) == slowness(None, now_h=50.0)


@pytest.mark.parametrize("hours", [10.0, None])
def test_a_burst_counts_once_whatever_its_size(hours: float | None) -> None:
    assert slowness(hours, jobs=100) == pytest.approx(slowness(hours))


def test_old_bursts_fade() -> None:
    faded = math.exp(-20 / FADING)
    seen = sum(math.exp(-place / FADING) for place in range(21))
    latest, oldest = slowness(*[50.0] * 20, 1.0), slowness(1.0, *[50.0] * 20)
    assert oldest - latest == pytest.approx((1 - faded) * math.log(2) / (PRIOR + seen), abs=0.002)


def test_jobs_that_start_at_once_do_not_affect_the_pace() -> None:
    idle = kaplan_meier(
        [*[Observation(0.0, True)] * 90, *[Observation(hours * HOUR_S, True) for hours in range(1, 11)]]
    )
    pace = Pace()
    for wait_s in (0.0, 30.0, 5 * HOUR_S):
        burst = Burst("own", 0)
        pace.remember(burst, idle)
        burst.add(Wait("1", "own", Shape(4, 3), 0.0, wait_s))
    among_waiting = idle.hazard(5 * HOUR_S) - idle.hazard(0.0)
    assert pace.slowness(1000 * HOUR_S) == pytest.approx((PRIOR + among_waiting) / (PRIOR + 1))
