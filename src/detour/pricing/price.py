"""The price of a stage before it runs, with the source of its duration.

Durations come from this workspace's own history on the same cluster, otherwise from the cluster profile's table,
otherwise from arithmetic with stated assumptions (`estimates`). A stage that was not measured and cannot be estimated
has no price: it is None, is named, and is left out of sums, which say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from detour.accounting.energy import Band
from detour.accounting.hours import HOUR_S
from detour.config.cluster import Cluster
from detour.planning.stage import EvaluateStage, ExportStage, PrepareStage, PretrainStage, PromoteStage, Stage
from detour.pricing.billing import held_and_billed
from detour.pricing.estimates import CHECKPOINT_BYTES_PER_WEIGHT, Estimate, ModelStage, estimate, model_shape

GPU_KINDS = frozenset({"pretrain", "promote", "evaluate"})
NEAR = 2.0
"""Factor in size beyond which a measurement counts as extrapolated."""
EXTRAPOLATION_ERROR = 0.3
START_ERROR_S = 2.0
"""Variation of the start-up (imports, first reads) between runs of the same work, which dominates the error of stages
that take seconds. Quickstart's masked phase took 13.4, 14.9 and 14.2 s.
"""
WEIGHT_BYTES = {"float32": 4, "bfloat16": 2}


class Measured(NamedTuple):
    """How long similar stages took on this cluster: `fixed_s` plus `unit_s` for each of the stage's `work_units`."""

    fixed_s: float
    unit_s: float
    units: float | None
    """Mean number of units that they had; None for a speed that holds for any number."""
    stages: int
    """Number of finished stages that were measured; 0 for a benchmark."""
    error: float
    """Relative half-width of the band for a stage of the same number of units."""


class History(Protocol):
    """Measurements on the cluster for which stages are priced."""

    def measured(self, signature: str) -> Measured | None:
        """Return the measurement for a `work_signature`, if any."""
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """One stage, or all stages of one shape. Bands are low / expected / high; None is unknown."""

    kind: str
    gpus: int
    cores: int
    wall_s: Band | None
    gpu_hours: Band | None
    billed_hours: Band | None
    disk_bytes: int | None
    """Disk space of the stage's output."""
    work_bytes: int | None
    """Additional disk space while it runs."""
    source: str
    """Source of the duration."""
    _hash: int = field(init=False, repr=False, compare=False)
    """Stored, because sums over a sweep look up the price of every stage."""

    def __post_init__(self) -> None:
        figures = self.wall_s, self.gpu_hours, self.billed_hours, self.disk_bytes, self.work_bytes
        object.__setattr__(self, "_hash", hash((self.kind, self.gpus, self.cores, *figures, self.source)))

    def __hash__(self) -> int:
        return self._hash


def work_signature(stage: Stage) -> str:
    """Return a text that is equal for stages whose duration differs only by `work_units` on the same machine."""
    if isinstance(stage, PretrainStage):
        settings, phase = stage.settings, stage.settings.phase
        frozen = sum(layers.last - layers.first + 1 for layers in phase.freeze)
        shape = f"{phase.objective} {settings.sequence_length} {settings.precision}"
        return f"pretrain {_size(stage)} {shape} {frozen} frozen"
    if isinstance(stage, PromoteStage):
        probe = "" if stage.settings.probe is None else f" {stage.settings.probe.digest[:16]}"
        return f"promote {_size(stage)} {stage.settings.phase.objective} {stage.settings.sequence_length}{probe}"
    if isinstance(stage, ExportStage):
        return f"export {_size(stage)} {stage.settings.dtype}"
    if isinstance(stage, EvaluateStage):
        return f"evaluate {_size(stage)} {stage.task} {replace(stage.settings, seed=0).digest[:16]}"
    return stage.kind


def work_units(stage: Stage, gpus: float) -> float | None:
    """Return what the duration is proportional to: tokens per GPU, or bytes of text; 1 if similar stages are equal."""
    if isinstance(stage, PretrainStage):
        return stage.runtime.tokens / max(1, gpus)
    if isinstance(stage, PrepareStage):
        size_bytes = stage.runtime.source_bytes
        return None if size_bytes is None else float(size_bytes)
    return 1.0


def training_gpus(cluster: Cluster, gpus: int | None = None) -> int:
    """Return the GPUs that a training requests: `gpus`, otherwise the profile's number, otherwise a whole node's."""
    if gpus is not None:
        return gpus
    return (cluster.training_gpus or cluster.gpu.per_node) if cluster.gpu else 0


def price(stage: Stage, cluster: Cluster, history: History, gpus: int | None = None) -> Price:
    """Price a stage; `gpus` is the number that a training requests, by default that of `training_gpus`."""
    node_gpus = cluster.gpu.per_node if cluster.gpu else 0
    if stage.kind == "pretrain":
        count = training_gpus(cluster, gpus)
    else:
        count = min(1, node_gpus) if stage.kind in GPU_KINDS else 0
    wall_s, source = _measured(stage, history, count) or estimate(stage, cluster, count)
    hours = None if wall_s is None else wall_s * (1 / HOUR_S)
    cores = count * (cluster.cores_per_gpu or 1) if count else cluster.cpu_only_cores
    held, billed = held_and_billed(cluster, count, cores)
    return Price(
        kind=stage.kind,
        gpus=count,
        cores=cores,
        wall_s=wall_s,
        gpu_hours=_charged(hours, held),
        billed_hours=_charged(hours, billed),
        disk_bytes=disk_bytes(stage),
        work_bytes=work_bytes(stage),
        source=source,
    )


def prices_of(stages: Iterable[Stage], cluster: Cluster, history: History, gpus: int | None = None) -> dict[str, Price]:
    """Return the prices by stage id. Stages with equal settings and runtime are priced once, and equal prices share one
    object.
    """
    by_shape: dict[tuple[str, str, str], Price] = {}
    distinct: dict[Price, Price] = {}
    prices = {}
    for stage in stages:
        shape = (stage.kind, stage.settings.digest, stage.runtime.digest)
        made = by_shape.get(shape)
        if made is None:
            made = price(stage, cluster, history, gpus)
            made = by_shape[shape] = distinct.setdefault(made, made)
        prices[stage.id] = made
    return prices


def disk_bytes(stage: Stage) -> int | None:
    """Return the disk space of a stage's output: a phase's last trainer state, a promoted one or an exported model.

    Results and predictions count as 0. The size of a corpus is unknown (None) until it is prepared.
    """
    if isinstance(stage, PretrainStage | PromoteStage):
        bytes_per_weight = CHECKPOINT_BYTES_PER_WEIGHT
    elif isinstance(stage, ExportStage):
        bytes_per_weight = WEIGHT_BYTES[stage.settings.dtype]
    else:
        return None if isinstance(stage, PrepareStage) else 0
    shape = model_shape(stage)
    return None if shape is None else shape.parameters * bytes_per_weight


def work_bytes(stage: Stage) -> int | None:
    """Return the temporary disk space of a training: checkpoints to resume from and the one being written, apart from
    the one that stays.
    """
    if not isinstance(stage, PretrainStage):
        return 0
    shape, kept = model_shape(stage), stage.runtime.training.checkpoints_kept
    return None if shape is None else shape.parameters * CHECKPOINT_BYTES_PER_WEIGHT * kept


def _measured(stage: Stage, history: History, gpus: int) -> Estimate | None:
    units = work_units(stage, gpus)
    measured = None if units is None else history.measured(work_signature(stage))
    if units is None or measured is None:
        return None
    expected_s = measured.fixed_s + measured.unit_s * units
    if measured.units is None:
        return Estimate(_around(expected_s, measured.error), "benchmarked here, start-up added")
    source = f"measured here, {measured.stages} stage{'s' if measured.stages > 1 else ''}"
    if not 1 / NEAR <= units / measured.units <= NEAR:
        error = max(measured.error, EXTRAPOLATION_ERROR)
        return Estimate(
            _around(expected_s, error), f"{source}; this stage is {units / measured.units:.3g} times as large"
        )
    return Estimate(_around(expected_s, measured.error), source)


def _around(expected_s: float, relative: float) -> Band:
    """Return a band around a duration, at least as wide as the variation of start-up."""
    if expected_s * relative >= START_ERROR_S:
        band = Band.around(expected_s, relative)
    else:
        band = Band(expected_s - START_ERROR_S, expected_s, expected_s + START_ERROR_S)
    return replace(band, low=max(0.0, band.low))


def _charged(hours: Band | None, gpus: float | None) -> Band | None:
    """Multiply hours by GPUs; 0 GPUs cost nothing even if the duration is unknown."""
    if gpus == 0:
        return Band(0, 0, 0)
    return None if hours is None or gpus is None else hours * gpus


def _size(stage: ModelStage) -> str:
    shape = model_shape(stage)
    named = shape and f"{shape.num_hidden_layers}x{shape.hidden_size}x{shape.vocab_size}"
    return str(stage.runtime.model.pretrained or named)
