"""Late starts raise the quantiles until the right share of jobs is late."""

from __future__ import annotations

import random

import pytest

from detour.forecasting.feedback import MOST, STEP, UNDECIDED, Feedback, Said
from detour.forecasting.waits import HOUR_S, Shape, Wait

SAID = Said(0.9, 10 * HOUR_S, late_at=0.25)
LONG_AFTER_S = 1000 * HOUR_S


def wait(hours: float | None, *, left_h: float | None = None, begun_s: float = 0.0) -> Wait:
    started_s = None if hours is None else begun_s + hours * HOUR_S
    return Wait("7", "own", Shape(4, 3), begun_s, started_s, None if left_h is None else begun_s + left_h * HOUR_S)


def shift(*waits: Wait, now_s: float = LONG_AFTER_S) -> float:
    feedback = Feedback((0.5, 0.9))
    for one in waits:
        feedback.remember(one, SAID)
    return feedback.shift(0.9, now_s)


def test_there_is_no_correction_without_forecasts() -> None:
    assert shift() == 0.0


def test_a_late_start_raises_the_quantile_and_a_timely_one_lowers_it() -> None:
    assert shift(wait(20.0)) == pytest.approx(0.9 * STEP)
    assert shift(wait(5.0)) == pytest.approx(-0.1 * STEP)


@pytest.mark.parametrize("off", [-0.08, 0.0, 0.2])
def test_the_right_share_is_late_in_the_long_run_however_wrong_the_forecasts_are(off: float) -> None:
    """For forecasts that would be late too often by this share."""
    chance, feedback, late = random.Random(1), Feedback((0.9,)), 0
    for hour in range(20_000):
        is_late = chance.random() < 0.1 + off - feedback.shift(0.9, hour * HOUR_S)
        feedback.remember(wait(20.0 if is_late else 5.0, begun_s=hour * HOUR_S), SAID)
        late += is_late
    assert late / 20_000 == pytest.approx(0.1, abs=abs(off) / STEP / 20_000 + 0.01)


def test_each_outcome_counts_less_while_many_forecasts_are_undecided() -> None:
    feedback = Feedback((0.9,))
    for one in (wait(5.0), *[wait(None)] * 7000):
        feedback.remember(one, SAID)
    assert feedback.shift(0.9, 6 * HOUR_S) == pytest.approx(-0.1 / (UNDECIDED * 7000))


def test_the_correction_is_bounded_when_no_quantile_is_late_enough() -> None:
    feedback = Feedback((0.9,))
    for day in range(1000):
        feedback.remember(wait(20.0, begun_s=24 * day * HOUR_S), SAID)
        corrected = feedback.shift(0.9, 24 * (day + 1) * HOUR_S)
    assert corrected == MOST


def test_each_share_has_its_own_correction() -> None:
    feedback = Feedback((0.5, 0.9))
    feedback.remember(wait(20.0), SAID)
    assert feedback.shift(0.5, LONG_AFTER_S) == 0.0


def test_a_job_still_pending_after_its_forecast_counts_as_late() -> None:
    assert shift(wait(None), now_s=9.9 * HOUR_S) == 0.0
    assert shift(wait(None), now_s=10.1 * HOUR_S) == shift(wait(20.0), now_s=10.1 * HOUR_S) > 0


def test_a_start_does_not_count_before_it_happens() -> None:
    assert shift(wait(5.0), now_s=4.9 * HOUR_S) == 0.0
    assert shift(wait(5.0), now_s=5.1 * HOUR_S) < 0


def test_a_cancelled_job_does_not_count_unless_it_was_already_late() -> None:
    assert shift(wait(None, left_h=9.0)) == 0.0
    assert shift(wait(None, left_h=11.0)) == shift(wait(20.0))


def test_starts_exactly_at_the_quantile_are_partly_late() -> None:
    """A queue in which most jobs start at once must not count as one in which all are early."""
    assert shift(wait(10.0)) == pytest.approx((0.25 - 0.1) * STEP)
