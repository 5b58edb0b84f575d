"""Which tasks can be evaluated, known before anything is submitted; no torch, so that the login node can ask."""

from __future__ import annotations

from detour.config.models import Benchmark, Task
from detour.errors import UserError

SUPPORTED_TYPES = ("single_label", "multilabel")


def refusal(task: Task) -> str | None:
    """Why `task` cannot be evaluated, or None."""
    if task.type not in SUPPORTED_TYPES:
        return f"type `{task.type}` cannot be evaluated yet; {' and '.join(SUPPORTED_TYPES)} can"
    if task.data is None:
        return "`data` is missing: name the file, its `text` and its `label` column"
    if (task.split is None) == (task.data.split_column is None):
        return "give either `split` (documents to draw) or `data.split_column` (a split that comes with the data)"
    return None


def unsupported_tasks(benchmark: Benchmark) -> dict[str, str]:
    """Task name -> reason; empty when the whole benchmark can be run."""
    return {task.name: reason for task in benchmark.tasks if (reason := refusal(task))}


def check_supported(task: Task) -> None:
    if reason := refusal(task):
        raise UserError(f"task {task.name}: {reason}")
