"""Estimate the duration of stages with nothing similar measured here: from the profile's table, or by arithmetic.

Every estimate states its source. A duration that neither the profile nor the stage determines is unknown, never
guessed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from detour.accounting.energy import Band
from detour.config.cluster import Cluster, Throughput
from detour.config.models import Task, TaskSize
from detour.flops import BASE, LARGE, Shape, expected_context, training_flops_per_token
from detour.planning.stage import EvaluateStage, ExportStage, PretrainStage, PromoteStage, Stage, SummarizeStage

PRETRAINING_MFU = Band(0.15, 0.30, 0.45)
"""Share of the peak. Public ModernBERT-size runs on A100 and H100 lie in this range."""
FINETUNING_MFU = Band(0.05, 0.15, 0.30)
"""Share of the peak; lower, because batches of a few documents keep a GPU less busy."""
FILL = Band(0.1, 0.5, 1.0)
"""Real tokens of a document as a share of the maximum length; batches hold documents of similar length."""
FORWARD = 1 / 3
"""A forward pass as a share of a forward and backward pass."""
BYTES_PER_S = Band(0.2e9, 1e9, 3e9)
"""Throughput of one process on a parallel file system that also digests what it writes."""
CHECKPOINT_BYTES_PER_WEIGHT = 12
"""fp32 weights and AdamW's two moments."""
START_UP_S = Band(10.0, 60.0, 180.0)
"""From the start of the job to the first step (imports, device, data); assumed until measured here."""
FRENCH_VOCABULARY = 32_768
"""Vocabulary size of the published ModernCamemBERT models."""
UNKNOWN_SIZE = "unknown: not measured here, and the model's size is unknown"
UNKNOWN_PEAK = "unknown: not measured here, and no peak speed is known"
ModelStage = PretrainStage | PromoteStage | ExportStage | EvaluateStage
"""Stages whose duration depends on the model's size."""


class Estimate(NamedTuple):
    wall_s: Band | None
    source: str
    """Source of the duration, or why there is none."""


def estimate(stage: Stage, cluster: Cluster, gpus: int) -> Estimate:
    """Estimate a stage that holds `gpus` GPUs."""
    if isinstance(stage, PretrainStage):
        return _training(stage, cluster, max(1, gpus))
    if isinstance(stage, EvaluateStage):
        return _evaluation(stage, cluster)
    if isinstance(stage, PromoteStage):
        return _promotion(stage, cluster)
    if isinstance(stage, ExportStage):
        return _conversion(stage, cluster)
    if isinstance(stage, SummarizeStage):
        return Estimate(START_UP_S, "assumed: a start, and a few files to read")
    return Estimate(None, "unknown: no corpus was prepared here yet")


def model_shape(stage: ModelStage) -> Shape | None:
    """Return the shape from the recipe's config; for a published model from the size in its name, if any."""
    model = stage.runtime.model
    if model.config is not None:
        return Shape.from_config({"vocab_size": stage.runtime.vocabulary, **model.config})
    name = str(model.pretrained).lower()
    shape = next((shape for size, shape in (("base", BASE), ("large", LARGE)) if name.endswith(size)), None)
    french = shape is not None and "camembert" in name
    return replace(shape, vocab_size=FRENCH_VOCABULARY) if shape and french else shape


def table_row(stage: PretrainStage, cluster: Cluster) -> Throughput | None:
    """Return the profile's row for a training; one over whole chains, with start-up and validation, comes first."""
    name = stage.runtime.model.pretrained or ""
    rows = [
        row
        for row in cluster.throughput
        if (row.model == name or name.endswith(f"-{row.model}"))
        and row.sequence_length == stage.settings.sequence_length
        and row.objective in (None, stage.settings.phase.objective)
    ]
    return min(rows, key=lambda row: row.objective is not None, default=None)


def inverse(band: Band) -> Band:
    """Convert speed to duration: the highest speed gives the shortest."""
    return Band(1 / band.high, 1 / band.expected, 1 / band.low)


def _training(stage: PretrainStage, cluster: Cluster, gpus: int) -> Estimate:
    tokens = stage.runtime.tokens
    row = table_row(stage, cluster)
    if row is not None:
        figure = row.tokens_per_s_per_gpu
        speed = Band(figure.low or figure.value, figure.value, figure.high or figure.value)
        basis = f"{figure.value:,.0f} tokens/s/GPU"
        if row.objective is None:
            return Estimate(inverse(speed) * (tokens / gpus), f"{basis} over a whole chain: {figure.source}")
        wall_s = inverse(speed) * (tokens / gpus) + START_UP_S + _upkeep_s(stage, inverse(speed), row.parameters)
        return Estimate(wall_s, f"{basis}, start-up and upkeep added: {figure.source}")
    shape, peak = model_shape(stage), cluster.gpu.peak_tflops_bf16 if cluster.gpu else None
    if shape is None or peak is None:
        return Estimate(None, UNKNOWN_SIZE if shape is None else UNKNOWN_PEAK)
    phase, length = stage.settings.phase, stage.settings.sequence_length
    flops = training_flops_per_token(shape, phase.objective, phase.masking_rate or 1.0, expected_context(length))
    token_s = inverse(PRETRAINING_MFU) * (flops / (peak.value * 1e12))
    wall_s = token_s * (tokens / gpus) + START_UP_S + _upkeep_s(stage, token_s, shape.parameters)
    return Estimate(wall_s, _flops_source(PRETRAINING_MFU, peak.value))


def _upkeep_s(stage: PretrainStage, token_s: Band, parameters: int | None) -> Band:
    """Return the time for checkpoints and validations; `token_s` is one GPU's time per training token."""
    training, steps = stage.runtime.training, stage.runtime.steps
    validations = 2 + (steps // training.validate_every if training.validate_every else 0)
    validation_s = token_s * (validations * stage.runtime.validation_tokens * FORWARD)
    if parameters is None:
        return validation_s
    saved = -(-steps // training.checkpoint_every) * parameters * CHECKPOINT_BYTES_PER_WEIGHT
    return validation_s + inverse(BYTES_PER_S) * saved


def _evaluation(stage: EvaluateStage, cluster: Cluster) -> Estimate:
    """Return an upper estimate, whose high end takes every document to be as long as the task allows."""
    shape, peak = model_shape(stage), cluster.gpu.peak_tflops_bf16 if cluster.gpu else None
    if shape is None or peak is None:
        return Estimate(None, UNKNOWN_SIZE if shape is None else UNKNOWN_PEAK)
    task = stage.settings.task
    documents, what = _documents(task, stage.runtime.documents)
    if documents is None:
        return Estimate(None, what)
    flops = training_flops_per_token(shape, "masked", 0.0, task.max_length)
    full_s = documents * task.max_length * flops / (peak.value * 1e12)
    wall_s = Band(
        full_s * FILL.low / FINETUNING_MFU.high,
        full_s * FILL.expected / FINETUNING_MFU.expected,
        full_s * FILL.high / FINETUNING_MFU.low,
    )
    return Estimate(wall_s + START_UP_S, f"upper estimate, {what}: {_flops_source(FINETUNING_MFU, peak.value)}")


class _Splits(NamedTuple):
    """Documents of each split, and their source."""

    train: float
    validation: float
    test: float
    source: str = ""


def _documents(task: Task, published: TaskSize | None) -> tuple[float | None, str]:
    """Return the work of a fine-tuning in documents passed forward and backward, with validations and test if known."""
    epochs, steps, batch, splits = task.epochs, task.steps, task.batch_sequences, _splits(task, published)
    if steps is not None:
        basis = f"{steps:,} steps of {batch} documents"
        if splits is None:
            return float(steps * batch), f"{basis}, validation left out"
        every = task.validate_every
        validations = steps // every if every is not None else -(-steps * batch // splits.train)
        passes = steps * batch + FORWARD * (validations * splits.validation + splits.test)
        return passes, basis + splits.source
    if splits is None or epochs is None:
        return None, "unknown: not measured here, and the task does not say how many documents it has"
    passes = epochs * (splits.train + FORWARD * splits.validation) + FORWARD * splits.test
    return passes, f"{epochs} epochs of {splits.train:,.0f} documents{splits.source}"


def _splits(task: Task, published: TaskSize | None) -> _Splits | None:
    """Return the sizes of the task's own split, or of the published number of documents.

    The parts of a split that comes with the data are unknown, so all documents count as training documents.
    """
    split = task.split
    if split is not None and split.unit == "documents":
        return _Splits(split.train, split.validation, split.test)
    if published is None:
        return None
    count, source = published.count, f" ({published.source})"
    if split is None:
        return _Splits(count, 0, 0, source)
    train, validation, test = (count * part / 100 for part in (split.train, split.validation, split.test))
    return _Splits(train, validation, test, source)


def _promotion(stage: PromoteStage, cluster: Cluster) -> Estimate:
    """Estimate a promotion, with the fine-tuning that its gate's probe requires."""
    judged, settings, runtime = _conversion(stage, cluster), stage.settings.probe, stage.runtime.probe
    if settings is None or runtime is None:
        return judged
    probed = _evaluation(EvaluateStage(settings, {}, runtime), cluster)
    if judged.wall_s is None or probed.wall_s is None:
        return judged if judged.wall_s is None else probed
    return Estimate(judged.wall_s + probed.wall_s, f"{judged.source}; probe: {probed.source}")


def _conversion(stage: PromoteStage | ExportStage, cluster: Cluster) -> Estimate:
    """Estimate reading, checking and writing a model; a promotion also validates it and its initial weights."""
    shape = model_shape(stage)
    if shape is None:
        return Estimate(None, UNKNOWN_SIZE)
    moved = shape.parameters * CHECKPOINT_BYTES_PER_WEIGHT * 3
    wall_s, source = inverse(BYTES_PER_S) * moved + START_UP_S, f"{moved / 1e9:.2g} GB to read, digest and write"
    if isinstance(stage, ExportStage):
        return Estimate(wall_s, f"assumed: {source}")
    peak = cluster.gpu.peak_tflops_bf16 if cluster.gpu else None
    if peak is None:
        return Estimate(None, UNKNOWN_PEAK)
    context = expected_context(stage.settings.sequence_length)
    flops = training_flops_per_token(shape, stage.settings.phase.objective, 1.0, context)
    validation_s = 2 * stage.runtime.validation_tokens * flops * FORWARD / (peak.value * 1e12)
    wall_s = wall_s + inverse(FINETUNING_MFU) * validation_s
    return Estimate(wall_s, f"assumed: {source}; two validations: {_flops_source(FINETUNING_MFU, peak.value)}")


def _flops_source(mfu: Band, peak_tflops: float) -> str:
    return f"FLOPs at {mfu.expected:.0%} of {peak_tflops:,.0f} TFLOP/s ({mfu.low:.0%} to {mfu.high:.0%})"
