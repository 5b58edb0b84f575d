"""Forecasts recomputed over a history, each from what was known when the job began to wait, and scored.

For comparison, the quantiles of the last 100 similar jobs that started: what a person would use without forecasts.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from detour.forecasting.forecaster import P50, P90, Expected, Forecaster
from detour.forecasting.scoring import Score, score
from detour.forecasting.waits import Shape, Wait

SIMILAR = 100
LEAST_SIMILAR = 20


class Outcome(NamedTuple):
    """A forecast and the actual wait, in seconds from the beginning of the wait."""

    wait: Wait
    p50_s: float
    p90_s: float
    similar: tuple[float, float] | None
    """p50 and p90 of the last similar jobs; None if there were fewer than `LEAST_SIMILAR`."""

    @property
    def actual_s(self) -> float | None:
        """None for a job that never started."""
        return None if self.wait.started_s is None else max(0.0, self.wait.started_s - self.wait.begun_s)


@dataclass(frozen=True, slots=True)
class Replay:
    jobs: int
    forecasts: int
    """Number of jobs with a forecast; the others had too little history."""
    score: Score | None
    """Score of the forecasts whose job started."""
    compared: Score | None
    """Score of those that also have `similar` quantiles."""
    similar: Score | None
    """Score of the similar jobs' quantiles, over the same jobs as `compared`."""


def outcomes(waits: Iterable[Wait]) -> Iterator[Outcome]:
    """One for each job with a forecast. `waits` must be in the order in which they began."""
    forecaster, similar = Forecaster(), _LastSimilar()
    for wait in waits:
        expected = forecaster.forecast(wait.shape, wait.account, wait.begun_s)
        beside = similar.quantiles(wait.shape, wait.begun_s)
        forecaster.add(wait)
        similar.add(wait)
        if isinstance(expected, Expected):
            yield Outcome(wait, expected.p50_s, expected.p90_s, beside)


def replay(waits: Sequence[Wait]) -> Replay:
    return summary(waits, list(outcomes(waits)))


def summary(waits: Sequence[Wait], made: Sequence[Outcome]) -> Replay:
    """Summarize the `outcomes` of these waits."""
    ended = [(one, one.actual_s) for one in made if one.actual_s is not None]
    beside = [(one, one.similar, actual_s) for one, actual_s in ended if one.similar is not None]
    return Replay(
        jobs=len(waits),
        forecasts=len(made),
        score=score((one.p50_s, one.p90_s, actual_s) for one, actual_s in ended),
        compared=score((one.p50_s, one.p90_s, actual_s) for one, _, actual_s in beside),
        similar=score((*quantiles, actual_s) for _, quantiles, actual_s in beside),
    )


class _LastSimilar:
    """Waits of the last started jobs of each shape, as of the requested time."""

    def __init__(self) -> None:
        self._starting: list[tuple[float, Shape, float]] = []
        self._started: dict[Shape, deque[float]] = {}

    def add(self, wait: Wait) -> None:
        if wait.started_s is not None:
            heapq.heappush(self._starting, (wait.started_s, wait.shape, max(0.0, wait.started_s - wait.begun_s)))

    def quantiles(self, shape: Shape, now_s: float) -> tuple[float, float] | None:
        while self._starting and self._starting[0][0] <= now_s:
            _, started, wait_s = heapq.heappop(self._starting)
            self._started.setdefault(started, deque(maxlen=SIMILAR)).append(wait_s)
        waits_s = sorted(self._started.get(shape, ()))
        if len(waits_s) < LEAST_SIMILAR:
            return None
        return waits_s[ceil(P50 * len(waits_s)) - 1], waits_s[ceil(P90 * len(waits_s)) - 1]
