"""Forecasts over synthetic histories of 2,000 jobs in bursts, in every regime, against the last 100 similar jobs.

    python -m tests.benchmarks.forecast_replay [SEEDS] [FIRST]

The constants of the method were chosen on seeds below 60,000, so these begin at 93,001. Printed for each regime, as
means over the seeds: coverage of p50 and p90 (wanted: 0.45 to 0.62 and 0.87 to 0.95), that of the similar jobs' p90,
the pinball loss relative to theirs (wanted: at most 1), and for how many seeds all are as wanted. Then the same for the
quantiles of the distribution that the waits were drawn from, given the true load, which no user knows: what chance
allows. For a real history: `detour forecast --replay FILE`.
"""

from __future__ import annotations

import sys
import time
from statistics import fmean
from typing import NamedTuple

from detour.forecasting.replay import Replay, outcomes, summary
from tests.forecasting.histories import REGIMES, Regime, history_with_truth


class Replayed(NamedTuple):
    ours: Replay
    true: Replay
    """The true quantiles of the same jobs."""
    cpu_s: float


def replayed(regime: Regime, seed: int) -> Replayed:
    waits, truth = history_with_truth(regime, seed)
    began_s = time.process_time()
    made = list(outcomes(waits))
    cpu_s = time.process_time() - began_s
    true = [one._replace(**truth[one.wait.job]._asdict()) for one in made]
    return Replayed(summary(waits, made), summary(waits, true), cpu_s)


def loss(made: Replay) -> float:
    assert made.compared is not None
    assert made.similar is not None
    return made.compared.pinball_s / made.similar.pinball_s


def is_as_wanted(made: Replay) -> bool:
    assert made.score is not None
    return 0.45 <= made.score.coverage_p50 <= 0.62 and 0.87 <= made.score.coverage_p90 <= 0.95 and loss(made) <= 1


def shown(name: str, made: list[Replayed]) -> str:
    ours, true = [one.ours for one in made], [one.true for one in made]
    scores = [one.score for one in ours if one.score]
    similar = fmean(one.similar.coverage_p90 for one in ours if one.similar)
    return (
        f"{name:<28}{fmean(score.n for score in scores):>6.0f}"
        f"{fmean(score.coverage_p50 for score in scores):>7.2f}"
        f"{fmean(score.coverage_p90 for score in scores):>7.2f}"
        f"{similar:>9.2f}{fmean(map(loss, ours)):>7.2f}{sum(map(is_as_wanted, ours)):>11}"
        f"{fmean(map(loss, true)):>11.2f}{sum(map(is_as_wanted, true)):>11}"
        f"{fmean(one.cpu_s for one in made):>8.1f}"
    )


def main(seeds: int = 6, first: int = 93_001) -> None:
    print(f"{'':<57}{f'of {seeds}':>11}{'truth':>11}{f'of {seeds}':>11}")
    print(
        f"{'regime':<28}{'jobs':>6}{'p50':>7}{'p90':>7}{'similar':>9}{'loss':>7}{'as wanted':>11}"
        f"{'loss':>11}{'as wanted':>11}{'CPU s':>8}"
    )
    every = list[Replayed]()
    for name, regime in REGIMES.items():
        made = [replayed(regime, seed) for seed in range(first, first + seeds)]
        every += made
        print(shown(name, made), flush=True)
    print(shown(f"all {len(every)} histories", every))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
