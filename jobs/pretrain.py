"""Train one phase, or what is left of it."""

from __future__ import annotations

from typing import Any

from detour.config.models import Model, Optimizer, Phase, Seeds, Training
from detour.jobs.context import StageContext
from detour.pretraining.job import PretrainJob
from detour.pretraining.start import Start
from detour.pretraining.train import train


def run(context: StageContext) -> dict[str, Any]:
    return train(pretrain_job(context), context.attempt)


def pretrain_job(context: StageContext) -> PretrainJob:
    settings, runtime = context.stage.settings, context.stage.runtime
    name = context.stage.label.removeprefix("pretrain ")
    phase = Phase.model_validate({"name": name, **settings["phase"]})
    planned = runtime["planned"]
    return PretrainJob(
        start=_start(context, phase),
        phase=phase,
        optimizer=Optimizer.model_validate(settings["optimizer"]),
        steps=planned["steps"],
        warmup_steps=planned["warmup_steps"],
        batch_sequences=settings["batch_sequences"],
        sequence_length=settings["sequence_length"],
        seeds=Seeds.model_validate(settings["seeds"]),
        precision=settings["precision"],
        first_row=settings["first_row"],
        corpus=context.inputs["corpus"],
        work_dir=context.work_dir,
        output_dir=context.output_dir,
        training=Training.model_validate({**runtime["training"], "precision": settings["precision"]}),
        microbatch_sequences=runtime["microbatch_sequences"],
        name=name,
    )


def _start(context: StageContext, phase: Phase) -> Start:
    parent = context.inputs.get("parent")
    if parent is not None:
        return Start(None, parent, with_optimizer=phase.carry == "weights+optimizer")
    return Start(Model.model_validate(context.stage.runtime["model"]))
