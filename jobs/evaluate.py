"""Fine-tune the exported encoder on one task with one seed. Output: result.json and predictions.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detour.config.models import Task
from detour.corpus.files import check_unchanged
from detour.evaluation.evaluators import evaluator_for
from detour.files import write_atomic
from detour.jobs.context import StageContext


def run(context: StageContext) -> dict[str, Any]:
    settings = context.stage.settings
    paths = [Path(path) for path in context.stage.runtime["paths"]]
    check_unchanged(paths, [file["fingerprint"] for file in settings["files"]])
    task = _task(settings["task"], paths)
    evaluation = evaluator_for(task)(
        task, paths, context.inputs["model"], settings["seed"], context.work_dir, context.attempt
    )
    predictions = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in evaluation.predictions)
    write_atomic(context.output_dir / "predictions.jsonl", predictions)
    write_atomic(context.output_dir / "result.json", json.dumps(evaluation.result, indent=2, ensure_ascii=False))
    return {
        key: evaluation.result[key]
        for key in ("task", "seed", "primary_metric", "validation", "test", "best_epoch", "documents")
    }


def _task(dumped: dict[str, Any], paths: Sequence[Path]) -> Task:
    """Where its files lie is no part of a stage's settings: give the task a place again."""
    data = dumped["data"] and dumped["data"] | {"path": str(paths[0])}
    return Task.model_validate(dumped | {"data": data})
