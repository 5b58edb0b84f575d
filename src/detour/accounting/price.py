"""What a stage will cost, before it runs, and where every number came from.

Tokens per second come from this workspace's own history, else from the cluster profile's table, else from the model's
FLOPs at a stated utilisation. What nobody has measured and nobody can derive has no price: it is None, is named, and is
left out of sums that then say so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from detour.accounting.billing import billed_gpus
from detour.accounting.energy import Band, EnergyFigure
from detour.accounting.energy import total as add_figures
from detour.accounting.methods import card_convention, estimated
from detour.accounting.site import site_of
from detour.plan.flops import BASE, LARGE, Shape, training_flops_per_token
from detour.plan.stage import Stage
from detour.recipe.cluster import Cluster, Throughput

ASSUMED_MFU = Band(0.15, 0.30, 0.45)
"""Public ModernBERT-size runs on A100 and H100 lie in this range."""
CHECKPOINT_BYTES_PER_WEIGHT = 12
"""fp32 weights and AdamW's two moments."""
START_UP_S = Band(10.0, 60.0, 180.0)
"""From the start of the job to the first step: imports, device, data; assumed until measured here."""
MEASURED_ERROR = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """What earlier attempts of a like stage took in this workspace."""

    tokens_per_s_per_gpu: float
    overhead_s: float
    """Start-up, validation and checkpoints together, beside the steps."""
    stages: int
    """How many finished stages stand behind it."""


class History(Protocol):
    """What has been measured before; `signature` is that of `training_signature`."""

    def training(self, signature: str) -> Measured | None: ...

    def elapsed_s(self, stage: Stage) -> float | None:
        """Wall time of earlier stages that did the same kind of thing with the same settings, inputs aside."""
        ...


class NoHistory:
    def training(self, signature: str) -> Measured | None:  # noqa: ARG002
        return None

    def elapsed_s(self, stage: Stage) -> float | None:  # noqa: ARG002
        return None


@dataclass(frozen=True, slots=True)
class Price:
    """One stage. Bands are low / expected / high; None is unknown."""

    stage_id: str
    label: str
    kind: str
    gpus: int
    cores: int
    wall_s: Band | None
    gpu_hours: Band | None
    billed_hours: Band | None
    disk_bytes: int | None
    source: str
    """Where the duration came from."""


def training_signature(stage: Stage) -> str:
    """Equal for trainings whose tokens cost the same time on the same machine."""
    settings, runtime = stage.settings, stage.runtime
    model = runtime["model"]
    size = model["pretrained"] or _shape_name(Shape.from_config(model["config"]))
    phase = settings["phase"]
    return f"{size} {phase['objective']} {settings['sequence_length']} {settings['precision']}"


def price(stage: Stage, cluster: Cluster, history: History, gpus: int | None = None) -> Price:
    """`gpus` is what a training asks for; by default a whole node's."""
    node_gpus = cluster.gpu.per_node if cluster.gpu else 0
    trains = stage.kind == "pretrain"
    count = (gpus if gpus is not None else node_gpus) if trains else min(1, node_gpus)
    if stage.kind in ("prepare", "summarize"):
        count = 0
    wall_s, source = _training_time(stage, cluster, history, max(1, count)) if trains else _other_time(stage, history)
    hours = wall_s * (1 / 3600) if wall_s else None
    gpu_hours = hours * count if hours else (Band(0, 0, 0) if count == 0 else None)
    cores = count * (cluster.cores_per_gpu or 1) if count else cluster.cpu_only_cores
    charged = billed_gpus(cluster, count, cores, nodes=max(1, -(-count // max(1, node_gpus))))
    return Price(
        stage.id,
        stage.label,
        stage.kind,
        count,
        cores,
        wall_s,
        gpu_hours,
        hours * charged if hours and charged is not None else None,
        checkpoint_bytes(stage),
        source,
    )


def checkpoint_bytes(stage: Stage) -> int | None:
    """Disk that a training's kept checkpoints take; None for a hub model of unknown size, 0 for other stages."""
    if stage.kind != "pretrain":
        return 0
    shape = model_shape(stage)
    if shape is None:
        return None
    kept = int(stage.runtime["training"]["checkpoints_kept"]) + 1
    return shape.parameters * CHECKPOINT_BYTES_PER_WEIGHT * kept


def model_shape(stage: Stage) -> Shape | None:
    """Of a training's model: from the recipe's config; for a published model from the size in its name."""
    model = stage.runtime["model"]
    if model["config"] is not None:
        return Shape.from_config({"vocab_size": stage.runtime["vocabulary"], **model["config"]})
    name = str(model["pretrained"]).lower()
    return next((shape for size, shape in (("base", BASE), ("large", LARGE)) if name.endswith(size)), None)


def _training_time(stage: Stage, cluster: Cluster, history: History, gpus: int) -> tuple[Band | None, str]:
    tokens = int(stage.runtime["planned"]["tokens"])
    if measured := history.training(training_signature(stage)):
        expected = measured.overhead_s + tokens / (measured.tokens_per_s_per_gpu * gpus)
        return Band.around(expected, MEASURED_ERROR), f"measured here, {measured.stages} stage(s)"
    if found := _from_table(stage, cluster):
        figure = found.tokens_per_s_per_gpu
        fast, slow = figure.high or figure.value, figure.low or figure.value
        band = Band(tokens / fast / gpus, tokens / figure.value / gpus, tokens / slow / gpus)
        if found.objective is None:
            return band, f"{figure.value:,.0f} tokens/s/GPU over a whole chain: {figure.source}"
        return band + START_UP_S, f"{figure.value:,.0f} tokens/s/GPU: {figure.source}"
    return _from_flops(stage, cluster, tokens, gpus)


def _from_table(stage: Stage, cluster: Cluster) -> Throughput | None:
    """The profile's row for this model: one over whole chains first, since it holds start-up and validation too."""
    name = str(stage.runtime["model"]["pretrained"] or "")
    rows = [
        row
        for row in cluster.throughput
        if (row.model == name or name.endswith(f"-{row.model}"))
        and row.sequence_length == stage.settings["sequence_length"]
        and row.objective in (None, stage.settings["phase"]["objective"])
    ]
    return min(rows, key=lambda row: row.objective is not None, default=None)


def _from_flops(stage: Stage, cluster: Cluster, tokens: int, gpus: int) -> tuple[Band | None, str]:
    shape = model_shape(stage)
    peak = cluster.gpu.peak_tflops_bf16 if cluster.gpu else None
    if shape is None or peak is None:
        return None, "unknown: nothing measured, and no peak speed is known"
    phase = stage.settings["phase"]
    flops = training_flops_per_token(
        shape, stage.settings["sequence_length"], phase["objective"], phase["masking_rate"] or 1.0
    )
    seconds = tokens * flops / (peak.value * 1e12 * gpus)
    mfu = ASSUMED_MFU
    band = Band(seconds / mfu.high, seconds / mfu.expected, seconds / mfu.low) + START_UP_S
    return band, f"FLOPs at {mfu.expected:.0%} of {peak.value:,.0f} TFLOP/s ({mfu.low:.0%} to {mfu.high:.0%})"


def _other_time(stage: Stage, history: History) -> tuple[Band | None, str]:
    elapsed_s = history.elapsed_s(stage)
    if elapsed_s is None:
        return None, "unknown: not measured here yet"
    return Band.around(elapsed_s, MEASURED_ERROR), "measured here"


def _shape_name(shape: Shape) -> str:
    return f"{shape.num_hidden_layers}x{shape.hidden_size}"


@dataclass(frozen=True, slots=True)
class Total:
    """Sum of distinct stages; what has no price is named, never counted as free."""

    gpu_hours: Band
    billed_hours: Band
    critical_path_s: Band
    """Wall time when every stage starts as soon as its inputs are there: no queue."""
    disk_bytes: int
    figures: tuple[EnergyFigure, ...]
    """Energy and CO2 of the expected hours, by method."""
    unpriced: tuple[str, ...]
    """Labels of stages whose duration nobody knows."""


def total(stages: Collection[Stage], prices: Mapping[str, Price], cluster: Cluster) -> Total:
    """`stages` in the plan's order, each once; `prices` by stage id."""
    listed = [prices[stage.id] for stage in stages]
    known = [price for price in listed if price.wall_s is not None]
    return Total(
        gpu_hours=_sum(price.gpu_hours for price in known),
        billed_hours=_sum(price.billed_hours for price in known),
        critical_path_s=_critical_path(stages, prices),
        disk_bytes=sum(price.disk_bytes or 0 for price in listed),
        figures=_energy(known, cluster),
        unpriced=tuple(price.label for price in listed if price.wall_s is None),
    )


def _energy(prices: Iterable[Price], cluster: Cluster) -> tuple[EnergyFigure, ...]:
    site = site_of(cluster)
    timed = [(price, price.wall_s.expected) for price in prices if price.wall_s]
    by_method = (
        [card_convention(site, price.gpus * seconds / 3600, seconds) for price, seconds in timed],
        [estimated(site, seconds, price.gpus, price.cores, None) for price, seconds in timed],
    )
    counted = [[figure for figure in figures if figure.it_energy_kwh is not None] for figures in by_method]
    return tuple(add_figures(figures) for figures in counted if figures)


def _critical_path(stages: Collection[Stage], prices: Mapping[str, Price]) -> Band:
    end: dict[str, Band] = {}
    for stage in stages:
        before = [end[input_id] for input_id in stage.inputs.values() if input_id in end]
        start = max(before, key=lambda band: band.expected, default=Band(0, 0, 0))
        end[stage.id] = start + (prices[stage.id].wall_s or Band(0, 0, 0))
    return max(end.values(), key=lambda band: band.expected, default=Band(0, 0, 0))


def _sum(bands: Iterable[Band | None]) -> Band:
    total_band = Band(0, 0, 0)
    for band in bands:
        total_band = total_band + (band or Band(0, 0, 0))
    return total_band
