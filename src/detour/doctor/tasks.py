"""The tasks of a benchmark: which files they need and where, and what is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detour.config.expansion import expand
from detour.config.loading import load_recipe, recipe_path
from detour.config.models import Benchmark, Recipe, Task
from detour.config.sweep import is_sweep, load_sweep
from detour.errors import UserError
from detour.tasks.files import task_files
from detour.tasks.loading import TaskDocuments, load_task
from detour.tasks.readers.registry import reader_named
from detour.tasks.supported import refusal
from detour.text import counted


@dataclass(frozen=True, slots=True)
class TaskCheck:
    task: str
    type: str
    state: Literal["ready", "missing", "problem"]
    said: str
    """What is there; or what is wrong, in one sentence."""
    place: str = ""
    """Where the files are expected: a path, or a data set on the hub."""
    layout: str = ""
    """The layout that the files must have."""
    obtain: str = ""
    """Where to obtain them, according to the benchmark."""
    notes: tuple[str, ...] = ()
    """What readers of the score should know about the data."""


def check_tasks_of(recipe_or_sweep: Path) -> list[TaskCheck]:
    """Check a recipe or sweep, given by path or by name. Raises RecipeError for a bad file."""
    path = recipe_path(recipe_or_sweep)
    return check_tasks(expand(load_sweep(path)) if is_sweep(path) else [load_recipe(path)])


def check_tasks(recipes: Iterable[Recipe]) -> list[TaskCheck]:
    """Every task of the recipes' benchmarks once, with its files read whole."""
    benchmarks: dict[str, Benchmark] = {one.benchmark.digest: one.benchmark for one in recipes if one.benchmark}
    tasks = {task.digest: task for benchmark in benchmarks.values() for task in benchmark.tasks}
    return [check_task(task) for task in tasks.values()]


def check_task(task: Task) -> TaskCheck:
    data, reason = task.data, refusal(task)
    if data is None or reason is not None:
        return TaskCheck(task.name, task.type, "problem", reason or "it has no `data`", obtain=task.obtain)
    place = f"{data.hub}: {data.path}" if data.hub else data.path
    expected = place, reader_named(data.layout).layout, task.obtain
    try:
        paths = task_files(data)
    except UserError as error:
        return TaskCheck(task.name, task.type, "missing", str(error), *expected)
    try:
        documents = load_task(task, paths)
    except UserError as error:
        return TaskCheck(task.name, task.type, "problem", str(error), *expected)
    return TaskCheck(task.name, task.type, "ready", found(documents), *expected, tuple(documents.notes))


def found(documents: TaskDocuments) -> str:
    """`16 + 8 + 8 documents, 22 labels`; with the number of entities for an entity task."""
    sizes = " + ".join(f"{len(split):,}" for split in (documents.train, documents.validation, documents.test))
    entities = sum(counts.entities for counts in documents.entity_counts.values())
    of_entities = f", {counted(entities, 'entity', 'entities')}" if entities else ""
    return f"{sizes} documents, {counted(len(documents.labels), 'label')}{of_entities}"
