"""Fine-tune the exported encoder on one task with one seed. Output: result.json and predictions.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from detour.config.models import Task
from detour.corpus.files import check_unchanged
from detour.evaluation.evaluators import Evaluation, evaluate, prepare
from detour.files import write_atomic
from detour.jobs.compile_cache import keep_compiled
from detour.jobs.context import StageContext
from detour.ledger.attempt import Attempt
from detour.planning.settings import EvaluateSettings
from detour.planning.stage import EvaluateStage


def run(context: StageContext[EvaluateStage]) -> dict[str, Any]:
    if torch.cuda.is_available():
        keep_compiled(context.work_dir.parents[2])
    evaluation = fine_tuned(
        context.stage.settings, context.stage.runtime.paths, context.inputs["model"], context.work_dir, context.attempt
    )
    predictions = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in evaluation.predictions)
    write_atomic(context.output_dir / "predictions.jsonl", predictions)
    write_atomic(context.output_dir / "result.json", json.dumps(evaluation.result, indent=2, ensure_ascii=False))
    return {
        key: evaluation.result[key]
        for key in ("task", "seed", "primary_metric", "validation", "test", "best_epoch", "documents")
    }


def read_ahead(stage: EvaluateStage, model: Path) -> None:
    """Read and encode what all seeds of a task and model share, for the processes forked from this one."""
    settings, paths = stage.settings, stage.runtime.paths
    prepare(_with_place(settings.task, paths).model_dump_json(), tuple(paths), model)


def fine_tuned(
    settings: EvaluateSettings, paths: Sequence[Path], model: Path, work_dir: Path, attempt: Attempt
) -> Evaluation:
    """`model` is a folder with an encoder and its tokenizer. Raises UserError if the task's files have changed."""
    check_unchanged(paths, [file.fingerprint for file in settings.files])
    task = _with_place(settings.task, paths)
    return evaluate(task, paths, model, settings.seed, work_dir, attempt)


def _with_place(task: Task, paths: Sequence[Path]) -> Task:
    """The task with the path of its files, which is not part of a stage's settings."""
    data = task.data and task.data.model_copy(update={"path": str(paths[0])})
    return task.model_copy(update={"data": data})
