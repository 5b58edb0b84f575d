"""What turns a task, an encoder and a seed into scores: one evaluator a task type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detour.config.models import Task
from detour.evaluation.encoding import encode_task
from detour.evaluation.finetune import FineTuning
from detour.evaluation.metrics import PRIMARY_METRIC, Matrix, TaskType
from detour.ledger.attempt import Attempt
from detour.tasks.loading import load_task
from detour.tasks.supported import check_supported


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one (task, seed) leaves behind, as JSON values."""

    result: dict[str, Any]
    predictions: list[dict[str, Any]]
    """One entry a test document, in the split's order, so that models can be compared pairwise later."""


Evaluator = Callable[[Task, Sequence[Path], Path, int, Path, Attempt], Evaluation]


def classify(
    task: Task, paths: Sequence[Path], model_folder: Path, seed: int, work_dir: Path, attempt: Attempt
) -> Evaluation:
    """Fine-tune and score a single-label or multilabel task; `paths` are its files in the order the task names them."""
    documents = load_task(task, paths)
    data = encode_task(documents, model_folder, task.max_length)
    outcome = FineTuning(model_folder, task, data, seed, work_dir, attempt).run()
    result = {
        "task": task.name,
        "type": task.type,
        "seed": seed,
        "primary_metric": PRIMARY_METRIC[task.type],
        "best_epoch": outcome.best["epoch"],
        "validation": outcome.best["validation"],
        "test": outcome.test,
        "history": outcome.history,
        "labels": list(data.labels),
        "documents": documents.counts,
        "label_counts": documents.label_counts,
        "notes": [*documents.notes, *cut_notes(task.max_length, data.max_length)],
        "max_length_tokens": data.max_length,
        "elapsed_s": outcome.elapsed_s,
    }
    predictions = [
        {"truth": _names(truth, data.labels), "decided": _names(decided, data.labels)}
        for truth, decided in zip(data.test.truth, outcome.test_decisions, strict=True)
    ]
    return Evaluation(result, predictions)


def cut_notes(asked: int, taken: int) -> list[str]:
    """A note where documents are cut shorter than the task asks; both in tokens."""
    if taken >= asked:
        return []
    return [f"documents are cut at {taken:,} tokens, the encoder's context, and the task asks for {asked:,}"]


def _names(row: Matrix, labels: Sequence[str]) -> list[str]:
    return [label for label, holds in zip(labels, row, strict=True) if holds]


EVALUATORS: Mapping[TaskType, Evaluator] = {"single_label": classify, "multilabel": classify}


def evaluator_for(task: Task) -> Evaluator:
    """Raises UserError, saying what there is, for a task that cannot be evaluated."""
    check_supported(task)
    return EVALUATORS[task.type]
