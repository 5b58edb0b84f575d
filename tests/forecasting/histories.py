"""Synthetic histories of a queue, in regimes that differ in what makes forecasting hard."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

from detour.forecasting.forecaster import P50, P90
from detour.forecasting.waits import HOUR_S, Wait, shape_of

LARGEST_BURST = 247
"""As in the public log of a site."""
JOB_SPREAD = 0.15
"""Standard deviation of the logarithm of a job's wait within its burst."""
GROWTH = 0.01
"""Upper bound on how much longer each further job of a burst waits, relative to the first."""
LONGEST_AT_ONCE_S = 5.0
SHAPES = ((4, 20 * HOUR_S), (1, 2 * HOUR_S), (8, 20 * HOUR_S), (4, 2 * HOUR_S), (1, 20 * HOUR_S))
"""GPUs and time limit."""


def geometric(chance: random.Random) -> int:
    return min(LARGEST_BURST, 1 + int(chance.expovariate(1 / 7)))


def lognormal(chance: random.Random) -> int:
    return max(1, min(LARGEST_BURST, int(math.exp(chance.gauss(1.2, 1.3)))))


def pareto(chance: random.Random) -> int:
    return min(LARGEST_BURST, int(chance.paretovariate(0.9)))


@dataclass(frozen=True)
class Regime:
    """Bursts arrive more often by day than by night; the queue's load wanders and is common to all of them."""

    size: Callable[[random.Random], int] = geometric
    accounts: int = 3
    shapes: int = 3
    bursts_a_day: float = 4.0
    median_h: float = 11.0
    load_memory_h: float = 30.0
    load_spread: float = 1.0
    """Standard deviation of its logarithm."""
    burst_spread: float = 0.8
    """Standard deviation of the logarithm of a burst's wait, in addition to the load."""
    at_once: float = 0.0
    """Share of bursts that start without a wait."""
    cancelled: float = 0.05
    """Share of pending jobs that are cancelled before they start."""
    slower_from: float = 1.0
    """Share of the jobs after which all waits are four and a half times as long."""


REGIMES: Mapping[str, Regime] = {
    "steady": Regime(load_spread=0.05, burst_spread=1.2),
    "wandering load": Regime(),
    "one account, two shapes": Regime(accounts=1, shapes=2),
    "five shapes": Regime(accounts=1, shapes=5),
    "large bursts": Regime(size=lognormal),
    "bursts up to 247 jobs": Regime(size=pareto, bursts_a_day=8.0),
    "heavy tail": Regime(load_spread=0.7, burst_spread=1.5),
    "many start at once": Regime(at_once=0.4),
    "many cancelled": Regime(cancelled=0.25),
    "short waits": Regime(size=lognormal, median_h=0.3),
    "many bursts wait at a time": Regime(size=lognormal, bursts_a_day=24.0),
    "the queue becomes slower": Regime(slower_from=0.5),
}


class Truth(NamedTuple):
    """The quantiles that the history was drawn from, when the load is known and only the luck of a burst is not."""

    p50_s: float
    p90_s: float


class History(NamedTuple):
    waits: list[Wait]
    """In the order in which they began."""
    truth: Mapping[str, Truth]
    """Job -> true quantiles of its wait."""


def history(regime: Regime, seed: int, jobs: int = 2000) -> list[Wait]:
    """Waits in the order in which they began."""
    return history_with_truth(regime, seed, jobs).waits


def history_with_truth(regime: Regime, seed: int, jobs: int = 2000) -> History:
    chance = random.Random(seed)
    shapes = {shape: chance.gauss(0, 0.5) for shape in SHAPES[: regime.shapes]}
    accounts = [chance.gauss(0, 0.5) for _ in range(regime.accounts)]
    load, now_s = chance.gauss(0, regime.load_spread), 0.0
    waits, truth = list[Wait](), dict[str, Truth]()
    while len(waits) < jobs:
        passed_s = _until_next_burst_s(chance, now_s, regime.bursts_a_day)
        now_s += passed_s
        memory = math.exp(-passed_s / HOUR_S / regime.load_memory_h)
        load = memory * load + math.sqrt(1 - memory * memory) * chance.gauss(0, regime.load_spread)
        shape, account = chance.choice(list(shapes)), chance.randrange(regime.accounts)
        slower = 1.5 if len(waits) >= regime.slower_from * jobs else 0.0
        known = load + slower + shapes[shape] + accounts[account]
        effects = known + chance.gauss(0, regime.burst_spread)
        median_s = 0.0 if chance.random() < regime.at_once else regime.median_h * HOUR_S * math.exp(effects)
        begun_s = now_s
        for index in range(regime.size(chance)):
            begun_s += chance.expovariate(1 / 5) if index else 0.0
            wait_s = median_s * (math.exp(chance.gauss(0, JOB_SPREAD)) + GROWTH * index * chance.random())
            wait_s = wait_s or chance.choice((0.0, 0.0, 1.0, 2.0, LONGEST_AT_ONCE_S))
            gone = wait_s > 60 and chance.random() < regime.cancelled
            job = str(len(waits) + 1)
            truth[job] = Truth(*(_true_quantile_s(regime, known, index, share) for share in (P50, P90)))
            waits.append(
                Wait(
                    job=job,
                    account=f"account-{account}",
                    shape=shape_of(*shape),
                    begun_s=begun_s,
                    started_s=None if gone else begun_s + wait_s,
                    left_s=begun_s + wait_s * chance.random() if gone else None,
                )
            )
    return History(sorted(waits[:jobs], key=lambda wait: wait.begun_s), truth)


def _true_quantile_s(regime: Regime, known: float, index: int, share: float) -> float:
    """`known` is the logarithm of the load, shape and account."""
    if share <= regime.at_once:
        return LONGEST_AT_ONCE_S
    spread = math.hypot(regime.burst_spread, JOB_SPREAD)
    luck = NormalDist(0, spread).inv_cdf((share - regime.at_once) / (1 - regime.at_once))
    return regime.median_h * HOUR_S * math.exp(known + luck) * (1 + GROWTH / 2 * index)


def _until_next_burst_s(chance: random.Random, now_s: float, bursts_a_day: float) -> float:
    """From eight in the morning to eight in the evening, four times as many as in the other half of the day."""
    passed_s = 0.0
    while True:
        passed_s += chance.expovariate(1.6 * bursts_a_day / 24) * HOUR_S
        if chance.random() < (1.0 if 8 <= (now_s + passed_s) / HOUR_S % 24 < 20 else 0.25):
            return passed_s
