"""What a plan costs: sums of distinct stages, for the whole and for each part that people ask about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detour.accounting.energy import Band, EnergyFigure
from detour.accounting.energy import total as add_figures
from detour.accounting.hours import HOUR_S
from detour.accounting.methods import card_convention, estimated
from detour.accounting.site import site_of
from detour.config.cluster import Cluster
from detour.planning.stage import Stage
from detour.pricing.billing import boards
from detour.pricing.price import Price

PARTS = {"pretraining": ("pretrain",), "promotion": ("promote",), "evaluation": ("evaluate",)}
"""Part of a plan -> kinds of stages; what is left takes no GPU."""
REST = "no GPU"


@dataclass(frozen=True, slots=True)
class Total:
    """Sum of distinct stages; what has no price is named, never counted as free."""

    stages: int
    hours: Band
    """Of all stages, one after the other."""
    gpu_hours: Band
    billed_hours: Band
    disk_bytes: int
    """What stays."""
    work_bytes: int
    """What the largest of them takes beside that while it runs."""
    figures: tuple[EnergyFigure, ...]
    """Energy and CO2 by method; their bands hold the method's error and that of the durations."""
    unpriced: tuple[Stage, ...]
    """Stages of unknown duration."""
    without_gpu_hours: tuple[Stage, ...]
    """Those of them that would hold a GPU."""
    unsized: tuple[Stage, ...]
    """Stages of unknown disk use."""


class _Group(NamedTuple):
    """Stages of one price."""

    price: Price
    stages: list[Stage]


def total(stages: Iterable[Stage], prices: Mapping[str, Price], cluster: Cluster) -> Total:
    """`stages` each once; `prices` by stage id. Linear, and quick where stages share prices."""
    return _total(_groups(stages, prices), cluster)


def totals_by_part(stages: Iterable[Stage], prices: Mapping[str, Price], cluster: Cluster) -> dict[str, Total]:
    """Pretraining beside evaluation and the rest; a part without stages is left out."""
    part_of = {kind: part for part, kinds in PARTS.items() for kind in kinds}
    parts: dict[str, list[_Group]] = {part: [] for part in (*PARTS, REST)}
    for group in _groups(stages, prices):
        parts[part_of.get(group.price.kind, REST)].append(group)
    return {part: _total(groups, cluster) for part, groups in parts.items() if groups}


def gpu_hours_of(uses: Mapping[str, int], prices: Mapping[str, Price]) -> Band:
    """Every stage (by id) as often as `uses` says."""
    counted: dict[Price, int] = {}
    for stage_id, times in uses.items():
        price = prices[stage_id]
        counted[price] = counted.get(price, 0) + times
    return _sum((price.gpu_hours, times) for price, times in counted.items())


def critical_path_s(stages: Iterable[Stage], prices: Mapping[str, Price]) -> Band:
    """Wall time when every stage starts as soon as its inputs are there: no queue. `stages` in the plan's order.

    The path is the one of the expected durations; its low and high are those of its stages together.
    """
    ends_s: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for stage in stages:
        start_s, last = 0.0, None
        for input_id in stage.inputs.values():
            end_s = ends_s.get(input_id, -1.0)
            if end_s >= start_s:
                start_s, last = end_s, input_id
        wall_s = prices[stage.id].wall_s
        ends_s[stage.id] = start_s + (wall_s.expected if wall_s else 0.0)
        before[stage.id] = last
    band, step = Band(0, 0, 0), max(ends_s, key=ends_s.__getitem__, default=None)
    while step is not None:
        band = band + (prices[step].wall_s or Band(0, 0, 0))
        step = before[step]
    return band


def energy_of(cluster: Cluster, gpus: int, cores: int, wall_s: float) -> tuple[EnergyFigure, EnergyFigure]:
    """By the card's convention and by the estimate of reserved hardware."""
    site, held = site_of(cluster), boards(cluster, gpus)
    reserved = None if held is None else held * wall_s / HOUR_S
    return card_convention(site, reserved, wall_s), estimated(site, wall_s, held, cores, None)


def _groups(stages: Iterable[Stage], prices: Mapping[str, Price]) -> list[_Group]:
    groups: dict[Price, list[Stage]] = {}
    for stage in stages:
        groups.setdefault(prices[stage.id], []).append(stage)
    return [_Group(price, group) for price, group in groups.items()]


def _total(groups: Sequence[_Group], cluster: Cluster) -> Total:
    return Total(
        stages=sum(len(group.stages) for group in groups),
        hours=_sum((price.wall_s, len(stages)) for price, stages in groups) * (1 / HOUR_S),
        gpu_hours=_sum((price.gpu_hours, len(stages)) for price, stages in groups),
        billed_hours=_sum((price.billed_hours, len(stages)) for price, stages in groups),
        disk_bytes=sum((price.disk_bytes or 0) * len(stages) for price, stages in groups),
        work_bytes=max((group.price.work_bytes or 0 for group in groups), default=0),
        figures=_energy(groups, cluster),
        unpriced=_stages(group for group in groups if group.price.wall_s is None),
        without_gpu_hours=_stages(group for group in groups if group.price.gpu_hours is None),
        unsized=_stages(group for group in groups if group.price.disk_bytes is None),
    )


def _stages(groups: Iterable[_Group]) -> tuple[Stage, ...]:
    return tuple(stage for group in groups for stage in group.stages)


def _energy(groups: Iterable[_Group], cluster: Cluster) -> tuple[EnergyFigure, ...]:
    walls_s: dict[tuple[int, int], Band] = {}
    for price, stages in groups:
        if price.wall_s is not None:
            held = (price.gpus, price.cores)
            walls_s[held] = walls_s.get(held, Band(0, 0, 0)) + price.wall_s * len(stages)
    pairs = [
        [_widened(figure, wall_s) for figure in energy_of(cluster, gpus, cores, wall_s.expected)]
        for (gpus, cores), wall_s in walls_s.items()
    ]
    counted = [
        [figure for figure in figures if figure.it_energy_kwh is not None] for figures in zip(*pairs, strict=True)
    ]
    return tuple(add_figures(figures) for figures in counted if figures)


def _widened(figure: EnergyFigure, wall_s: Band) -> EnergyFigure:
    """A figure of the expected duration, with the shortest one's low end and the longest one's high end."""
    energy = figure.it_energy_kwh
    if energy is None or not wall_s.expected:
        return figure
    shortest, longest = wall_s.low / wall_s.expected, wall_s.high / wall_s.expected
    return figure._replace(it_energy_kwh=Band(energy.low * shortest, energy.expected, energy.high * longest))


def _sum(bands: Iterable[tuple[Band | None, int]]) -> Band:
    added = Band(0, 0, 0)
    for band, times in bands:
        if band is not None:
            added = added + band * times
    return added
