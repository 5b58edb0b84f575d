"""Forecasts over synthetic histories of 2,000 jobs in bursts, and their score."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

from detour.forecasting.replay import Outcome, outcomes, replay, summary
from detour.forecasting.scoring import Score
from tests.forecasting.histories import REGIMES, history

TRIED = ("steady", "wandering load")
SEEDS = range(4)
"""The score of one history is left to chance; the benchmark `forecast_replay` tries all regimes with any number."""


@pytest.mark.parametrize("regime", TRIED)
def test_forecasts_cover_the_right_share_with_no_more_loss_than_the_last_similar_jobs(regime: str) -> None:
    made = [replay(history(REGIMES[regime], seed)) for seed in SEEDS]
    scores = [one.score for one in made if one.score]
    assert 0.87 <= fmean(score.coverage_p90 for score in scores) <= 0.95
    assert 0.45 <= fmean(score.coverage_p50 for score in scores) <= 0.62
    assert fmean(loss(one.compared) / loss(one.similar) for one in made) <= 1


def loss(score: Score | None) -> float:
    assert score is not None
    return score.pinball_s


def test_the_score_equals_an_independent_count() -> None:
    waits = history(REGIMES["many cancelled"], 1, jobs=500)
    made = list(outcomes(waits))
    scored = summary(waits, made).score
    started = [one for one in made if one.wait.started_s is not None]
    actual = np.array([one.wait.started_s for one in started], float) - [one.wait.begun_s for one in started]
    p50, p90 = (np.array([getattr(one, name) for one in started]) for name in ("p50_s", "p90_s"))
    losses = mean_pinball_loss(actual, p50, alpha=0.5), mean_pinball_loss(actual, p90, alpha=0.9)
    assert scored is not None
    assert len(made) > len(started) > 100
    assert scored.n == len(started)
    assert scored.coverage_p50 == pytest.approx(np.mean(actual <= p50))
    assert scored.coverage_p90 == pytest.approx(np.mean(actual <= p90))
    assert scored.pinball_s == pytest.approx(np.mean(losses))


def test_forecasts_are_compared_with_the_last_hundred_similar_jobs_that_had_started() -> None:
    waits = history(REGIMES["short waits"], 3, jobs=600)
    made: list[Outcome] = list(outcomes(waits))
    last = made[-1]
    started = sorted(
        (wait.started_s, wait.started_s - wait.begun_s)
        for wait in waits
        if wait.shape == last.wait.shape and wait.started_s is not None and wait.started_s <= last.wait.begun_s
    )
    waits_s = sorted(wait_s for _, wait_s in started[-100:])
    assert last.similar == pytest.approx((waits_s[49], waits_s[89]))
