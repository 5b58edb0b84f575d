"""Forecasts over synthetic histories of 2,000 jobs in bursts, in every regime, against the last 100 similar jobs.

    python -m tests.benchmarks.forecast_replay [SEEDS] [FIRST]

The constants of the method were chosen on seeds below 60,000, so these begin at 93,001. Printed for each regime, as
means over the seeds: coverage of p50 and p90 (wanted: 0.45 to 0.62 and 0.87 to 0.95), that of the similar jobs' p90,
the pinball loss relative to theirs (wanted: at most 1), and for how many seeds all are as wanted. For a real history:
`detour forecast --replay FILE`.
"""

from __future__ import annotations

import sys
import time
from statistics import fmean

from detour.forecasting.replay import Replay, replay
from tests.forecasting.histories import REGIMES, history


def loss(made: Replay) -> float:
    assert made.compared is not None
    assert made.similar is not None
    return made.compared.pinball_s / made.similar.pinball_s


def is_as_wanted(made: Replay) -> bool:
    assert made.score is not None
    return 0.45 <= made.score.coverage_p50 <= 0.62 and 0.87 <= made.score.coverage_p90 <= 0.95 and loss(made) <= 1


def main(seeds: int = 6, first: int = 93_001) -> None:
    print(f"{'regime':<28}{'jobs':>6}{'p50':>7}{'p90':>7}{'similar':>9}{'loss':>7}{'as wanted':>11}{'CPU s':>8}")
    for name, regime in REGIMES.items():
        began_s = time.process_time()
        made = [replay(history(regime, seed)) for seed in range(first, first + seeds)]
        scores = [one.score for one in made if one.score]
        print(
            f"{name:<28}{fmean(score.n for score in scores):>6.0f}"
            f"{fmean(score.coverage_p50 for score in scores):>7.2f}"
            f"{fmean(score.coverage_p90 for score in scores):>7.2f}"
            f"{fmean(one.similar.coverage_p90 for one in made if one.similar):>9.2f}{fmean(map(loss, made)):>7.2f}"
            f"{f'{sum(map(is_as_wanted, made))} of {seeds}':>11}{(time.process_time() - began_s) / seeds:>8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
