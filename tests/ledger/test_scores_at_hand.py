"""The folded ledger keeps the scores that the status summarizes."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from detour.ledger.events import ForecastScored
from detour.ledger.record import Entry
from detour.ledger.state import SCORED, State

JOBS = 3 * SCORED
FORECASTS = 5
"""Forecasts of each job; a job that waits for long gets new ones."""


def score(job: int, made_s: float, of: str = "start") -> ForecastScored:
    return ForecastScored(
        of=of, made_s=made_s, p50_s=made_s, p90_s=made_s, actual_s=1e4 + job, pinball_s=0.0, method="history"
    )


def folded(scores: Iterable[tuple[str, ForecastScored]]) -> State:
    state = State()
    state.add(
        Entry(number, "w", 0.0, 0.0, event, stage="pretrain-1", job=job) for number, (job, event) in enumerate(scores)
    )
    return state


@pytest.fixture(scope="module")
def scores() -> list[tuple[str, ForecastScored]]:
    known = [(str(job), score(job, 10.0 * job + number)) for job in range(JOBS) for number in range(FORECASTS)]
    return [*known, *((str(job), score(job, 0.0, of="end")) for job in range(JOBS))]


@pytest.mark.parametrize("seed", range(3))
def test_each_of_the_last_started_jobs_has_its_first_forecast(
    scores: list[tuple[str, ForecastScored]], seed: int
) -> None:
    """However many others were scored since, and in any order of reading."""
    shuffled = random.Random(seed).sample(scores, len(scores))
    kept = folded(shuffled).scores
    assert {entry.job: entry.event.made_s for entry in kept.values()} == {
        str(job): 10.0 * job for job in range(JOBS - SCORED, JOBS)
    }
