"""Which forecasts are recorded and scored, and how good the last ones have been."""

from __future__ import annotations

import itertools
import random
from statistics import fmean

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from detour.forecasting.records import Happened, accuracy, is_current, new_scores
from detour.forecasting.slurm_estimate import corrected_s, errors_s
from detour.ledger.events import ForecastMade, ForecastScored
from detour.ledger.record import Entry

HOUR_S = 3600.0
_SEQUENCE = itertools.count()


def made(
    at_s: float, *, job: str | None = "7", begun_s: float | None = 0.0, start: tuple[float, float] = (10.0, 20.0)
) -> Entry[ForecastMade]:
    event = ForecastMade(
        method="history",
        begun_s=begun_s,
        start_p50_s=start[0],
        start_p90_s=start[1],
        end_p50_s=start[0] + 100,
        end_p90_s=start[1] + 100,
    )
    return Entry(next(_SEQUENCE), "w", at_s, at_s, event, stage="pretrain-1", job=job)


def entered(scored: ForecastScored, job: str) -> Entry[ForecastScored]:
    return Entry(next(_SEQUENCE), "w", 0.0, 0.0, scored, stage="pretrain-1", job=job)


def test_a_forecast_is_valid_for_an_hour_or_as_long_as_the_job_had_waited() -> None:
    early, late = made(60.0), made(5 * HOUR_S)
    assert is_current(early, "7", 0.0, 60.0 + HOUR_S - 1)
    assert not is_current(early, "7", 0.0, 60.0 + HOUR_S)
    assert is_current(late, "7", 0.0, 10 * HOUR_S - 1)
    assert not is_current(late, "7", 0.0, 10 * HOUR_S)


def test_a_job_viewed_every_minute_for_a_week_has_few_forecasts() -> None:
    last, number = None, 0
    for minute in range(7 * 24 * 60):
        if not is_current(last, "7", 0.0, 60.0 * minute):
            last, number = made(60.0 * minute), number + 1
    assert number <= 10


def test_another_job_or_the_beginning_of_the_wait_needs_a_new_forecast() -> None:
    assert not is_current(None, "7", 0.0, 1.0)
    assert not is_current(made(0.0), "8", 0.0, 1.0)
    assert not is_current(made(0.0, begun_s=None), "7", 0.5, 1.0)


def test_a_start_and_an_end_are_scored_once_after_they_happened() -> None:
    forecast = made(1.0)
    assert list(new_scores([forecast], [], Happened({}, {}))) == []
    ((_, start),) = new_scores([forecast], [], Happened({(None, "7"): 15.0}, {}))
    assert (start.of, start.actual_s, start.made_s) == ("start", 15.0, 1.0)
    assert start.pinball_s == pytest.approx((0.5 * 5 + 0.1 * 5) / 2)
    ((_, end),) = new_scores([forecast], [entered(start, "7")], Happened({(None, "7"): 15.0}, {"pretrain-1": 130.0}))
    assert (end.of, end.actual_s, end.p90_s) == ("end", 130.0, 120.0)


def test_a_forecast_is_not_scored_by_what_happened_before_it() -> None:
    assert list(new_scores([made(16.0)], [], Happened({(None, "7"): 15.0}, {}))) == []


def test_the_accuracy_equals_an_independent_count() -> None:
    chance = random.Random(3)
    scored, truth = [], []
    for number in range(60):
        p50_s, p90_s, actual_s = number * 100 + 10.0, number * 100 + 30.0, number * 100 + chance.uniform(0, 40)
        forecast = made(number * 100.0, job=str(number), start=(p50_s, p90_s))
        again = made(number * 100.0 + 1, job=str(number), start=(0.0, 1e9))
        happened = Happened({(None, str(number)): actual_s + 1}, {})
        scored += [entered(score, str(number)) for _, score in new_scores([forecast, again], [], happened)]
        truth.append((p50_s, p90_s, actual_s + 1))
    known = accuracy(scored)
    assert known is not None
    p50, p90, actual = (np.array(column) for column in zip(*truth[-40:], strict=True))
    assert known.jobs == 40
    assert known.by_p50 == pytest.approx(np.mean(actual <= p50))
    assert known.by_p90 == pytest.approx(np.mean(actual <= p90))
    losses = mean_pinball_loss(actual, p50, alpha=0.5), mean_pinball_loss(actual, p90, alpha=0.9)
    assert known.pinball_s == pytest.approx(fmean(losses))
    share = f"{np.mean(actual <= p90):.0%}"
    assert str(known).startswith(f"{share} of starts fell inside the band over the last 40 jobs")


def test_there_is_no_accuracy_before_the_first_start() -> None:
    assert accuracy([]) is None


def test_slurms_estimate_is_corrected_by_its_own_errors_once_ten_are_known() -> None:
    scores = [
        ForecastScored(
            of="start",
            made_s=float(number),
            p50_s=0.0,
            p90_s=0.0,
            actual_s=100.0 * number + 10 * number,
            pinball_s=0.0,
            method="history",
            slurm_start_s=100.0 * number,
        )
        for number in range(1, 11)
    ]
    errors = errors_s(entered(score, str(number)) for number, score in enumerate(scores))
    assert sorted(errors) == [10.0 * number for number in range(1, 11)]
    assert corrected_s(5000.0, errors, 0.5) == 5060.0
    assert corrected_s(5000.0, errors, 0.9) == 5100.0
    assert corrected_s(5000.0, errors[1:], 0.5) is None
