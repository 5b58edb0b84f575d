"""From logits to decisions to scores, as the published French harness (`tabib`) defines them.

Truth and decisions are boolean matrices (documents, labels); a single label is a row with one True.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

Matrix = npt.NDArray[np.bool_]
TaskType = Literal["single_label", "multilabel", "ner"]
PRIMARY_METRIC: dict[TaskType, str] = {"single_label": "macro_f1", "multilabel": "micro_f1", "ner": "micro_f1"}
"""What picks the best epoch and is shown first; the other scores are stored beside it."""


def decide(logits: npt.NDArray[np.float32], task_type: TaskType, threshold: float) -> Matrix:
    """The top label; for `multilabel` every label from the probability `threshold`, and the top one where none is."""
    top = np.zeros(logits.shape, dtype=np.bool_)
    top[np.arange(len(logits)), logits.argmax(axis=1)] = True
    if task_type == "single_label":
        return top
    passing = logits >= math.log(threshold / (1 - threshold))
    return np.where(passing.any(axis=1, keepdims=True), passing, top)


def scores(truth: Matrix, decided: Matrix, task_type: TaskType) -> dict[str, float]:
    """Macro F1, micro F1 and accuracy (every label of a document right).

    A label that is neither true nor decided anywhere has no F1: the macro average leaves it out for `single_label`
    (scikit-learn's rule for vectors of classes) and counts 0 for `multilabel` (the harness's choice).
    """
    undefined = np.nan if task_type == "single_label" else 0.0
    return {
        "macro_f1": float(f1_score(truth, decided, average="macro", zero_division=undefined)),
        "micro_f1": float(f1_score(truth, decided, average="micro", zero_division=0.0)),
        "accuracy": float(accuracy_score(truth, decided)),
    }


def indicators(matrix: Matrix) -> Matrix:
    """Of at least two columns, the added one empty: a single one, scikit-learn takes for one of two classes, and then
    counts what neither side has as an agreement. To be scored with `labels=range(COLUMNS THERE WERE)`."""
    return matrix if matrix.shape[1] > 1 else np.pad(matrix, ((0, 0), (0, 1)))


def class_scores(truth: Matrix, decided: Matrix, labels: Sequence[str]) -> dict[str, dict[str, float | int]]:
    """Label -> precision, recall, f1 (0 where it is undefined), how often it is true and how often decided."""
    if not len(truth):
        return {label: {"precision": 0.0, "recall": 0.0, "f1": 0.0, "true": 0, "decided": 0} for label in labels}
    figures = precision_recall_fscore_support(
        indicators(truth), indicators(decided), labels=range(len(labels)), average=None, zero_division=0.0
    )
    return {
        label: {
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "true": int(support),
            "decided": int(number),
        }
        for label, precision, recall, f1, support, number in zip(labels, *figures, decided.sum(axis=0), strict=True)
    }
