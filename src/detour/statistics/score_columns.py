"""Tell the columns of a published table apart: scores, averages, differences, descriptions of the models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

MODELS = frozenset({"model", "models", "modèle", "modèles", "system", "encoder"})
TASKS = frozenset({"task", "tasks", "tâche", "tâches", "dataset", "datasets", "data set", "benchmark", "corpus"})
AVERAGE = re.compile(r"(?:(?:macro|overall)[- ]?)?(?:avg|average|mean|moyenne)\b\.?", re.IGNORECASE)
OVERALL = re.compile(r"(?:\s*(?:f1|scores?|all|\([^)]*\)))*", re.IGNORECASE)
"""What may follow the word in the name of an average over all tasks; `Avg NER` is over some of them."""
DESCRIPTIONS = frozenset(
    {"ctx", "context", "length", "max length", "params", "parameters", "size", "layers", "heads", "hidden", "vocab"}
    | {"vocabulary", "tokens", "epochs", "seeds", "runs", "rank", "year", "steps", "#params", "# params"}
)
MEASURES = frozenset(
    {"precision", "recall", "f1", "accuracy", "metric", "metrics", "value", "score", "train", "validation", "dev"}
    | {"test", "documents", "labels", "type", "source", "p", "r"}
)
"""Names of columns in tables of tasks that do not compare models."""

ColumnKind = Literal["score", "average", "seed", "it describes the models", "it has differences", "an average of some"]


def column_kind(name: str, cells: Iterable[str]) -> ColumnKind:
    """Return what a column holds, by its name and by the signs in its cells."""
    folded = name.casefold()
    if folded == "seed":
        return "seed"
    if average := AVERAGE.match(name):
        return "average" if OVERALL.fullmatch(name, average.end()) else "an average of some"
    if folded in DESCRIPTIONS:
        return "it describes the models"
    return "it has differences" if any(bare_cell(str(cell)).startswith("+") for cell in cells) else "score"


def is_of_models(header: Sequence[str]) -> bool:
    """Whether a table compares models, in its rows or its columns."""
    return bare_cell(header[0]).casefold() in MODELS or is_by_tasks(header)


def is_by_tasks(header: Sequence[str]) -> bool:
    """Whether the rows of a table are tasks and its columns models."""
    names = [bare_cell(name).casefold() for name in header]
    return bool(names) and names[0] in TASKS and not MEASURES.intersection(names[1:])


def turned(
    header: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return a table of tasks by models as one of models by tasks, without its columns that describe the tasks."""
    lines = [(number, cells) for number, cells in rows if cells]
    kept = []
    for place, name in enumerate(header[1:], 1):
        column = [str(cells[place]) if place < len(cells) else "" for _, cells in lines]
        if any(re.search(r"\d", cell) for cell in column) and column_kind(bare_cell(name), column) == "score":
            kept.append((lines[0][0], [name, *column]))
    return ["model", *(cells[0] for _, cells in lines)], kept


def bare_cell(cell: str) -> str:
    """Return the text without Markdown's bold, code and links."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell).strip().strip("*`_ ").strip()
