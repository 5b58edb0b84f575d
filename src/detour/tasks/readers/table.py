"""Tables: rows of jsonl, csv, tsv or parquet files with a text and its label or labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from detour.config.models import Task, TaskData
from detour.corpus.files import FORMAT_OF_SUFFIX
from detour.corpus.sources import table_of
from detour.errors import UserError
from detour.tasks.document import Document
from detour.tasks.label_values import is_vector, label_names, vector
from detour.tasks.labels import LABEL_MAPS
from detour.tasks.readers.registry import Reader
from detour.tasks.splits import split_in


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:  # noqa: ARG001
    assert task.data is not None
    for path in paths:
        for document in read_documents(path, task.data, several=task.type == "multilabel"):
            yield replace(document, path=path) if task.data.split_files else document


def read_documents(path: Path, data: TaskData, *, several: bool = True) -> Iterator[Document]:
    """Yield one document per row that `exclude` does not match, with any number of labels if `several`."""
    columns = [data.text, data.label] + ([data.split_column] if data.split_column else [])
    table = table_of(data, path, columns)
    vectors_only, rows, length = data.label_format == "auto" and data.label_separator is None, 0, None
    for text, label, *split in table:
        vectors_only, rows = vectors_only and is_vector(label), rows + 1
        try:
            if data.label_format == "vector":
                length = _same_length(vector(label), length)
            yield _document(data, text, label, *split, several=several)
        except UserError as error:
            raise table.error(str(error)) from None
    if vectors_only and rows:
        raise UserError(
            f"{path}: column `{data.label}` holds only zeros and ones, several per row: set "
            "`label_format: vector`, whose labels are named by their position, or `name` or `list` if they are names"
        )


def _same_length(bits: Sequence[bool], before: int | None) -> int:
    if before is not None and len(bits) != before:
        raise UserError(f"its vector of labels has {len(bits)} places, those of the rows before have {before}")
    return len(bits)


def _document(data: TaskData, text: Any, label: Any, split: Any = None, *, several: bool) -> Document:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"column `{data.text}` has no text; skip such rows with `exclude`")
    try:
        names = label_names(label, data, several=several)
    except UserError as error:
        raise UserError(f"column `{data.label}` {error}") from None
    given = split_in(data.split_column, split) if data.split_column else None
    to_label = LABEL_MAPS[data.label_map] if data.label_map else str
    return Document(text, frozenset(map(to_label, names)), given)


READER = Reader(
    read,
    "jsonl, csv, tsv or parquet files with a column of texts and one of labels",
    suffixes=tuple(suffix for suffix in FORMAT_OF_SUFFIX if suffix != ".txt"),
    types=("single_label", "multilabel"),
    has_columns=True,
)
