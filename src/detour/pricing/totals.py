"""The cost of a plan: sums over distinct stages, in total and for each part."""

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
from detour.grouping import grouped
from detour.planning.stage import Stage
from detour.pricing.billing import boards
from detour.pricing.price import Price

PARTS = {"pretraining": ("pretrain",), "promotion": ("promote",), "evaluation": ("evaluate",)}
"""Part of a plan -> kinds of stages; the remaining kinds use no GPU."""
REST = "no GPU"


@dataclass(frozen=True, slots=True)
class Total:
    """A sum over distinct stages; those without a price are listed, not counted as free."""

    stages: int
    hours: Band
    """Duration of all stages if run one after the other."""
    gpu_hours: Band
    billed_hours: Band | None
    """Of stages of known duration; None if the site's rule needs a figure that its profile lacks."""
    disk_bytes: int
    """Disk space of the outputs."""
    work_bytes: int
    """Largest additional disk space of a single stage while it runs."""
    figures: tuple[EnergyFigure, ...]
    """Energy and CO2 by method; their bands include the errors of the method and of the durations."""
    unpriced: tuple[Stage, ...]
    """Stages of unknown duration."""
    without_gpu_hours: tuple[Stage, ...]
    """Stages of unknown GPU-hours."""
    unsized: tuple[Stage, ...]
    """Stages of unknown disk use."""


class _Group(NamedTuple):
    """Stages that share a price."""

    price: Price
    stages: list[Stage]


def total(stages: Iterable[Stage], prices: Mapping[str, Price], cluster: Cluster) -> Total:
    """Sum over `stages`, which must be distinct; `prices` are by stage id. Fast if stages share prices."""
    return _total(_groups(stages, prices), cluster)


def totals_by_part(stages: Iterable[Stage], prices: Mapping[str, Price], cluster: Cluster) -> dict[str, Total]:
    """Return the totals of pretraining, promotion, evaluation and the rest, without parts that have no stages."""
    part_of = {kind: part for part, kinds in PARTS.items() for kind in kinds}
    parts: dict[str, list[_Group]] = {part: [] for part in (*PARTS, REST)}
    for group in _groups(stages, prices):
        parts[part_of.get(group.price.kind, REST)].append(group)
    return {part: _total(groups, cluster) for part, groups in parts.items() if groups}


def gpu_hours_of(uses: Mapping[str, int], prices: Mapping[str, Price]) -> Band:
    """Sum GPU-hours, counting each stage (by id) as often as `uses` says."""
    counted: dict[Price, int] = {}
    for stage_id, times in uses.items():
        price = prices[stage_id]
        counted[price] = counted.get(price, 0) + times
    return _sum((price.gpu_hours, times) for price, times in counted.items())


def critical_path_s(stages: Iterable[Stage], prices: Mapping[str, Price]) -> Band:
    """Return the wall time if every stage starts as soon as its inputs exist, without queueing.

    `stages` are in the plan's order. The path is that of the expected durations; its low and high are the sums over its
    stages.
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
    """Return the energy by the card's convention and by the estimate for reserved hardware."""
    site, held = site_of(cluster), boards(cluster, gpus)
    reserved = None if held is None else held * wall_s / HOUR_S
    return card_convention(site, reserved, wall_s), estimated(site, wall_s, held, cores, None)


def _groups(stages: Iterable[Stage], prices: Mapping[str, Price]) -> list[_Group]:
    groups = grouped((prices[stage.id], stage) for stage in stages)
    return [_Group(price, group) for price, group in groups.items()]


def _total(groups: Sequence[_Group], cluster: Cluster) -> Total:
    return Total(
        stages=sum(len(group.stages) for group in groups),
        hours=_sum((price.wall_s, len(stages)) for price, stages in groups) * (1 / HOUR_S),
        gpu_hours=_sum((price.gpu_hours, len(stages)) for price, stages in groups),
        billed_hours=_billed_hours(groups),
        disk_bytes=sum((price.disk_bytes or 0) * len(stages) for price, stages in groups),
        work_bytes=max((group.price.work_bytes or 0 for group in groups), default=0),
        figures=_energy(groups, cluster),
        unpriced=_stages(group for group in groups if group.price.wall_s is None),
        without_gpu_hours=_stages(group for group in groups if group.price.gpu_hours is None),
        unsized=_stages(group for group in groups if group.price.disk_bytes is None),
    )


def _billed_hours(groups: Iterable[_Group]) -> Band | None:
    priced = [(price.billed_hours, len(stages)) for price, stages in groups if price.wall_s and price.gpu_hours]
    return None if any(bill is None for bill, _ in priced) else _sum(priced)


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
    """Widen the band of a figure for the expected duration to cover the shortest and longest durations."""
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
