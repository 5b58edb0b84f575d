"""Evaluate an encoder on a task with one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from detour.config.models import Task
from detour.evaluation.classification import Classification
from detour.evaluation.encoding import encode_task
from detour.evaluation.finetune import FineTuning
from detour.evaluation.ner import EntityRecognition
from detour.evaluation.ner_encoding import encode_ner
from detour.ledger.attempt import Attempt
from detour.tasks.loading import TaskDocuments, load_task


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The output of one (task, seed), as JSON values."""

    result: dict[str, Any]
    predictions: list[dict[str, Any]]
    """One entry per test document, in the order of the split, so that models can be compared in pairs later."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data that all seeds of a (task, encoder) share."""

    documents: TaskDocuments
    workload: Classification | EntityRecognition


def evaluate(
    task: Task, paths: Sequence[Path], model_folder: Path, seed: int, work_dir: Path, attempt: Attempt
) -> Evaluation:
    """Fine-tune and score one seed; `paths` are the task's files in the order of the task.

    Raises UserError for a task that cannot be evaluated.
    """
    prepared = prepare(task.model_dump_json(), tuple(paths), model_folder)
    documents, workload = prepared.documents, prepared.workload
    outcome = FineTuning(model_folder, task, workload, seed, work_dir, attempt).run()
    data = workload.data
    halved = [f"batches were split into {outcome.parts} parts to fit the memory"] if outcome.parts > 1 else []
    result = {
        "task": task.name,
        "type": task.type,
        "seed": seed,
        "primary_metric": workload.primary_metric,
        "best_epoch": outcome.best["epoch"],
        "validation": outcome.best["validation"],
        "test": outcome.test,
        "history": outcome.history,
        "labels": list(data.labels),
        "documents": documents.counts,
        "label_counts": documents.label_counts,
        **workload.result(outcome.decided),
        "notes": [*documents.notes, *length_notes(task, data.max_length), *data.notes, *halved],
        "max_length_tokens": data.max_length,
        "elapsed_s": outcome.elapsed_s,
    }
    return Evaluation(result, workload.predictions(outcome.decided))


@lru_cache(maxsize=1)
def prepare(task_json: str, paths: tuple[Path, ...], model_folder: Path) -> Prepared:
    """Read and encode a task's documents, once for all seeds that a process runs.

    The task is passed as JSON, which can be a cache key.
    """
    task = Task.model_validate_json(task_json)
    documents = load_task(task, paths)
    if task.type == "ner":
        return Prepared(documents, EntityRecognition(task, encode_ner(documents, task, model_folder)))
    return Prepared(documents, Classification(task, encode_task(documents, model_folder, task.max_length)))


def length_notes(task: Task, taken: int) -> list[str]:
    """A note if the encoder reads less at once than the length that the task requests; `taken` is in tokens."""
    if taken >= task.max_length:
        return []
    what = "windows of documents have" if task.type == "ner" else "documents are cut at"
    return [f"{what} {taken:,} tokens, the encoder's context, and the task asks for {task.max_length:,}"]
