"""The first rows of every file that a plan names, checked before anything waits in a queue.

Otherwise the first job would find a missing column, a wrong format or truncated weights, hours later. What the first
rows do not show, the jobs still check.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from detour.config.models import Source, Task
from detour.corpus.files import file_format
from detour.corpus.sources import read_texts, table_of
from detour.errors import UserError
from detour.orchestration.model_check import model_problems
from detour.planning.stage import EvaluateStage, PrepareStage, PretrainStage, Stage
from detour.tasks.files import TABLE
from detour.tasks.loading import load_task
from detour.tasks.readers.table import read_documents
from detour.tasks.supported import refusal

ROWS = 20
FILES = 32
"""Files checked of each entry, spread evenly over all of them."""


def check_files(stages: Iterable[Stage]) -> None:
    """Raises UserError with every problem in the first rows of the stages' files.

    Missing files are skipped: the plan lists them itself.
    """
    if problems := dict.fromkeys(_problems(stages)):
        raise UserError("\n".join(problems))


def _problems(stages: Iterable[Stage]) -> Iterator[str]:
    by_id = {stage.id: stage for stage in stages}
    looked_at: set[tuple[str, ...]] = set()
    for stage in by_id.values():
        if isinstance(stage, PrepareStage):
            for source, _ in stage.settings.sources:
                yield from _source_problems(source, stage.runtime.source_paths[source.name])
        elif isinstance(stage, EvaluateStage) and refusal(stage.settings.task) is None:
            entry = (stage.settings.task.digest, *map(str, stage.runtime.paths))
            if entry not in looked_at:
                yield from _task_problems(stage.settings.task, stage.runtime.paths)
            looked_at.add(entry)
        elif isinstance(stage, PretrainStage):
            yield from model_problems(stage, by_id, looked_at)


def _source_problems(source: Source, paths: Sequence[Path]) -> Iterator[str]:
    for path in _some(paths):
        try:
            if file_format(path, source.format) == "text" and source.column == "text":
                continue  # a document would be read whole, with nothing in it to check
            for _ in islice(read_texts(table_of(source, path, [source.column])), ROWS):
                pass
        except UserError as error:
            yield f"source {source.name}: {error}"


def _task_problems(task: Task, paths: Sequence[Path]) -> Iterator[str]:
    """Problems in the first rows of tables; other layouts are small and are read whole."""
    assert task.data is not None
    if paths and task.data.layout != TABLE:
        try:
            load_task(task, paths)
        except UserError as error:
            yield str(error) if str(error).startswith("task ") else f"task {task.name}: {error}"
        return
    for path in _some(paths):
        try:
            for _ in islice(read_documents(path, task.data, several=task.type == "multilabel"), ROWS):
                pass
        except UserError as error:
            yield f"task {task.name}: {error}"


def _some(paths: Sequence[Path]) -> Sequence[Path]:
    """All paths if there are few, otherwise `FILES` of them at even distances."""
    return paths if len(paths) <= FILES else [paths[place * len(paths) // FILES] for place in range(FILES)]
