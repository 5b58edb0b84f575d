"""Decisions from logits, and scores from decisions, as the published French harness (`tabib`) defines them.

Truth and decisions are boolean matrices (documents, labels); a single-label row has exactly one True.
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
"""The metric that selects the best validation and is shown first; all metrics are stored."""


def decide(logits: npt.NDArray[np.float32], task_type: TaskType, threshold: float) -> Matrix:
    """The top label; for `multilabel` every label with at least the probability `threshold`, or else the top one."""
    top = np.zeros(logits.shape, dtype=np.bool_)
    top[np.arange(len(logits)), logits.argmax(axis=1)] = True
    if task_type == "single_label":
        return top
    passing = logits >= math.log(threshold / (1 - threshold))
    return np.where(passing.any(axis=1, keepdims=True), passing, top)


def scores(truth: Matrix, decided: Matrix, task_type: TaskType) -> dict[str, float]:
    """Macro F1, micro F1 and accuracy (all labels of a document correct).

    A label that is neither true nor predicted anywhere has no F1: the macro average skips it for `single_label`
    (scikit-learn's rule for class vectors) and counts it as 0 for `multilabel` (the harness's choice).
    """
    undefined = np.nan if task_type == "single_label" else 0.0
    return {
        "macro_f1": float(f1_score(truth, decided, average="macro", zero_division=undefined)),
        "micro_f1": float(f1_score(truth, decided, average="micro", zero_division=0.0)),
        "accuracy": float(accuracy_score(truth, decided)),
    }


def indicators(matrix: Matrix) -> Matrix:
    """Pad a single column with an empty one; score with `labels=range(original columns)`.

    scikit-learn reads a single column as binary classes, and would count joint absence as agreement.
    """
    return matrix if matrix.shape[1] > 1 else np.pad(matrix, ((0, 0), (0, 1)))


def class_scores(truth: Matrix, decided: Matrix, labels: Sequence[str]) -> dict[str, dict[str, float | int]]:
    """Label -> precision, recall, f1 (0 if undefined), and how often it is true and predicted."""
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
