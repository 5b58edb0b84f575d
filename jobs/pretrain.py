"""Train one phase, or what is left of it."""

from __future__ import annotations

from typing import Any

from detour.jobs.compile_cache import keep_compiled
from detour.jobs.context import StageContext
from detour.jobs.origins import require_unchanged
from detour.planning.stage import PretrainStage
from detour.pretraining.job import PretrainJob
from detour.pretraining.start import Start
from detour.pretraining.train import train


def run(context: StageContext[PretrainStage]) -> dict[str, Any]:
    if context.stage.runtime.training.compile:
        keep_compiled(context.work_dir.parents[2])
    return train(pretrain_job(context), context.attempt)


def pretrain_job(context: StageContext[PretrainStage]) -> PretrainJob:
    settings, runtime = context.stage.settings, context.stage.runtime
    return PretrainJob(
        start=_start(context),
        phase=settings.phase,
        optimizer=settings.optimizer,
        steps=runtime.steps,
        warmup_steps=runtime.warmup_steps,
        batch_sequences=settings.batch_sequences,
        sequence_length=settings.sequence_length,
        seeds=settings.seeds,
        precision=settings.precision,
        first_row=settings.first_row,
        corpus=context.inputs["corpus"],
        work_dir=context.work_dir,
        output_dir=context.output_dir,
        training=runtime.training,
        microbatch_sequences=runtime.microbatch_sequences,
        name=context.stage.phase,
        stage=context.stage.id,
    )


def _start(context: StageContext[PretrainStage]) -> Start:
    parent = context.inputs.get("parent")
    if parent is not None:
        return Start(None, parent, with_optimizer=context.stage.settings.phase.carry == "weights+optimizer")
    model = context.stage.runtime.model
    require_unchanged(model.pretrained, context.stage.settings.model)
    return Start(model)
