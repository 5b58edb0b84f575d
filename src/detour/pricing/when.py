"""What a plan would emit if it started at another hour, given hourly grid factors or a forecast of them.

Every stage starts as soon as its inputs exist, without queueing, and draws its estimated energy (M2) evenly. Only the
start moves, so the grid is the only difference between hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import NamedTuple

from detour.accounting.energy import Band
from detour.accounting.hourly import HourlyFactors
from detour.accounting.hours import HOUR_S
from detour.config.cluster import Cluster
from detour.errors import UserError
from detour.planning.stage import Stage
from detour.pricing.price import Price
from detour.pricing.totals import energy_of
from detour.site import Sourced
from detour.text import format_duration

HORIZON_S = 7 * 86400.0
"""Starts further ahead are not considered, because no forecast reaches that far."""


class Draw(NamedTuple):
    """Facility energy between two offsets from the plan's start."""

    start_s: float
    end_s: float
    energy_kwh: Band


class QueueStart(NamedTuple):
    """When the queue is expected to let a plan start, in seconds since the epoch, and the source of that estimate."""

    at_s: float
    by: str


class Start(NamedTuple):
    at_s: float
    """Seconds since the epoch."""
    co2_g: Band


@dataclass(frozen=True, slots=True)
class StartTimes:
    starts: tuple[Start, ...]
    """Now (or the first factor), then every full hour until the factors end, at most a week ahead."""
    duration_s: float
    pue: Sourced
    unpriced: tuple[Stage, ...]
    """Stages of unknown duration, which the grams do not include."""
    expected: Start | None = None
    """The start that the queue is expected to allow, if known."""
    expected_by: str | None = None
    """Source of the expected start."""

    @property
    def least(self) -> Start:
        return min(self.starts, key=lambda start: start.co2_g.expected)

    @property
    def most(self) -> Start:
        return max(self.starts, key=lambda start: start.co2_g.expected)


def start_times(
    stages: Sequence[Stage],
    prices: Mapping[str, Price],
    cluster: Cluster,
    factors: HourlyFactors,
    now_s: float,
    queue: QueueStart | None = None,
) -> StartTimes:
    """Compare start times for the remaining `stages`, given in the plan's order.

    Raises UserError if there is no PUE, no known duration, or no start that the factors cover.
    """
    pue = cluster.site.pue
    if pue is None:
        raise UserError(f"no PUE is known for {cluster.name}, so grams are unknown: set site.pue in its profile")
    drawn = list(draws(stages, prices, cluster))
    if not drawn:
        raise UserError("no remaining stage has a known duration, so there is nothing to compare: run it once")
    duration_s = max(draw.end_s for draw in drawn)
    options = (Start(at_s, grams) for at_s in _options(factors, now_s) if (grams := emitted(drawn, factors, at_s)))
    starts = tuple(options)
    if not starts:
        raise UserError(
            f"the factors do not cover the plan's {format_duration(duration_s)} from any start in the next week: "
            "give a file that reaches further"
        )
    grams = emitted(drawn, factors, queue.at_s) if queue else None
    return StartTimes(
        starts=starts,
        duration_s=duration_s,
        pue=Sourced(pue.value, pue.source, pue.year),
        unpriced=tuple(stage for stage in stages if prices[stage.id].wall_s is None),
        expected=Start(queue.at_s, grams) if queue and grams else None,
        expected_by=queue.by if queue else None,
    )


def draws(stages: Iterable[Stage], prices: Mapping[str, Price], cluster: Cluster) -> Iterator[Draw]:
    """Yield the energy of the stages with a known duration and energy, merging those over the same time span."""
    ends_s: dict[str, float] = {}
    together: dict[tuple[float, float], Band] = {}
    pue = cluster.site.pue.value if cluster.site.pue else 1.0
    for stage in stages:
        price = prices[stage.id]
        wall_s = price.wall_s.expected if price.wall_s else 0.0
        start_s = max((ends_s.get(input_id, 0.0) for input_id in stage.inputs.values()), default=0.0)
        ends_s[stage.id] = start_s + wall_s
        _, estimate = energy_of(cluster, price.gpus, price.cores, wall_s)
        if wall_s > 0 and estimate.it_energy_kwh is not None:
            span = (start_s, start_s + wall_s)
            together[span] = together.get(span, Band(0.0, 0.0, 0.0)) + estimate.it_energy_kwh * pue
    for (start_s, end_s), energy_kwh in together.items():
        yield Draw(start_s, end_s, energy_kwh)


def emitted(drawn: Iterable[Draw], factors: HourlyFactors, at_s: float) -> Band | None:
    """Return the grams of a plan that starts at `at_s`; None if a factor is missing for a part of it."""
    parts = []
    for draw in drawn:
        factor = factors.mean(at_s + draw.start_s, at_s + draw.end_s)
        if factor is None:
            return None
        parts.append(draw.energy_kwh * factor)
    return Band(*(fsum(getattr(part, end) for part in parts) for end in ("low", "expected", "high")))


def _options(factors: HourlyFactors, now_s: float) -> Iterator[float]:
    first_s = max(now_s, factors.starts_s[0])
    yield first_s
    at_s = first_s // HOUR_S * HOUR_S + HOUR_S
    while at_s < min(factors.end_s, now_s + HORIZON_S):
        yield at_s
        at_s += HOUR_S
