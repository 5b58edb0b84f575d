"""Check whether tasks can be evaluated, before anything is submitted; no torch, so it works on login nodes."""

from __future__ import annotations

from detour.config.models import Benchmark, Task
from detour.errors import UserError
from detour.tasks.readers.registry import BUILT_IN, reader_named


def refusal(task: Task) -> str | None:
    """Return why `task` cannot be evaluated, None if it can."""
    data = task.data
    if data is None:
        return "`data` is missing: name the file, its `text` and its `label` column"
    try:
        reader = reader_named(data.layout)
    except UserError as error:
        return str(error)
    if task.type not in reader.types:
        fitting = ", ".join(f"`{name}`" for name in BUILT_IN if task.type in reader_named(name).types)
        types = " and ".join(reader.types)
        return f"the reader `{data.layout}` supports tasks of type {types}, not {task.type}: set `reader` to {fitting}"
    if data.split_column and not reader.has_columns:
        return f"the reader `{data.layout}` has no columns: use `split_files` instead of `split_column`"
    if (task.split is not None) + (data.split_column is not None) + data.split_files != 1:
        return (
            "give one of `split` (documents to draw), `data.split_column` and `data.split_files` (a split that comes "
            "with the data)"
        )
    return None


def unsupported_tasks(benchmark: Benchmark) -> dict[str, str]:
    """Return task name -> reason; empty if the whole benchmark can be run."""
    return {task.name: reason for task in benchmark.tasks if (reason := refusal(task))}


def check_supported(task: Task) -> None:
    if reason := refusal(task):
        raise UserError(f"task {task.name}: {reason}")
