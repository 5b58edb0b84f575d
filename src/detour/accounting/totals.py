"""What a plan costs: sums of distinct stages, for the whole and for each part that people ask about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from detour.accounting.energy import Band, EnergyFigure
from detour.accounting.energy import total as add_figures
from detour.accounting.hours import HOUR_S
from detour.accounting.methods import card_convention, estimated
from detour.accounting.price import Price
from detour.accounting.site import site_of
from detour.plan.stage import Stage
from detour.recipe.cluster import Cluster

PARTS = {"pretraining": ("pretrain",), "promotion": ("promote",), "evaluation": ("evaluate",)}
"""Part of a plan -> kinds of stages; what is left takes no GPU."""
REST = "no GPU"


@dataclass(frozen=True, slots=True)
class Total:
    """Sum of distinct stages; what has no price is named, never counted as free."""

    stages: int
    gpu_hours: Band
    billed_hours: Band
    disk_bytes: int
    figures: tuple[EnergyFigure, ...]
    """Energy and CO2 by method, of the expected duration."""
    unpriced: tuple[str, ...]
    """Labels of stages whose duration nobody knows."""
    unsized: tuple[str, ...]
    """Labels of stages of which nobody knows how much disk they take."""


def total(stages: Collection[Stage], prices: Mapping[str, Price], cluster: Cluster) -> Total:
    """`stages` each once; `prices` by stage id. Linear, and quick where stages share prices."""
    counted = Counter(id(prices[stage.id]) for stage in stages)
    distinct = {id(one): one for one in (prices[stage.id] for stage in stages)}
    shapes = [(distinct[key], count) for key, count in counted.items()]
    return Total(
        stages=len(stages),
        gpu_hours=_sum((one.gpu_hours, count) for one, count in shapes),
        billed_hours=_sum((one.billed_hours, count) for one, count in shapes),
        disk_bytes=sum((one.disk_bytes or 0) * count for one, count in shapes),
        figures=_energy(shapes, cluster),
        unpriced=tuple(stage.label for stage in stages if prices[stage.id].wall_s is None),
        unsized=tuple(stage.label for stage in stages if prices[stage.id].disk_bytes is None),
    )


def totals_by_part(stages: Iterable[Stage], prices: Mapping[str, Price], cluster: Cluster) -> dict[str, Total]:
    """Pretraining beside evaluation and the rest; a part without stages is left out."""
    part_of = {kind: part for part, kinds in PARTS.items() for kind in kinds}
    grouped: dict[str, list[Stage]] = {part: [] for part in (*PARTS, REST)}
    for stage in stages:
        grouped[part_of.get(stage.kind, REST)].append(stage)
    return {part: total(group, prices, cluster) for part, group in grouped.items() if group}


def critical_path_s(stages: Iterable[Stage], prices: Mapping[str, Price]) -> Band:
    """Wall time when every stage starts as soon as its inputs are there: no queue. `stages` in the plan's order.

    The path is the one of the expected durations; its low and high are those of its stages together.
    """
    end_s: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for stage in stages:
        last = max((one for one in stage.inputs.values() if one in end_s), key=end_s.__getitem__, default=None)
        wall_s = prices[stage.id].wall_s
        end_s[stage.id] = (end_s[last] if last else 0.0) + (wall_s.expected if wall_s else 0.0)
        before[stage.id] = last
    band, step = Band(0, 0, 0), max(end_s, key=end_s.__getitem__, default=None)
    while step is not None:
        band = band + (prices[step].wall_s or Band(0, 0, 0))
        step = before[step]
    return band


def energy_of(cluster: Cluster, gpus: int, cores: int, wall_s: float) -> tuple[EnergyFigure, EnergyFigure]:
    """By the card's convention and by the estimate of reserved hardware."""
    site = site_of(cluster)
    return card_convention(site, gpus * wall_s / HOUR_S, wall_s), estimated(site, wall_s, gpus, cores, None)


def _energy(shapes: Iterable[tuple[Price, int]], cluster: Cluster) -> tuple[EnergyFigure, ...]:
    seconds: dict[tuple[int, int], float] = {}
    for one, count in shapes:
        if one.wall_s is not None:
            held = (one.gpus, one.cores)
            seconds[held] = seconds.get(held, 0.0) + one.wall_s.expected * count
    pairs = [energy_of(cluster, gpus, cores, wall_s) for (gpus, cores), wall_s in seconds.items()]
    by_method = zip(*pairs, strict=True)
    counted = [[figure for figure in figures if figure.it_energy_kwh is not None] for figures in by_method]
    return tuple(add_figures(figures) for figures in counted if figures)


def _sum(bands: Iterable[tuple[Band | None, int]]) -> Band:
    added = Band(0, 0, 0)
    for band, count in bands:
        if band is not None:
            added = added + band * count
    return added
