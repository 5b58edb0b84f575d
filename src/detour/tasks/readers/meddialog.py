"""MedDialog-FR: tab-separated files named `.csv`, one with texts and one with labels.

Ids end in `_q` (question) and `_a` (answer). Labels belong to a question and are written as a Python list; the document
is the question with its answer. The column `split` holds train, dev or test.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import Document
from detour.tasks.label_values import label_list
from detour.tasks.readers.lines import decoded
from detour.tasks.readers.registry import Reader
from detour.tasks.splits import split_in

TEXT_COLUMNS = ("post-edited", "machine_translation", "text")
"""Columns of the text; the first that a file has is used."""
QUESTION, ANSWER = "_q", "_a"


def read(paths: Sequence[Path], task: Task, dropped: Counter[str]) -> Iterator[Document]:
    assert task.data is not None
    column_of_split = task.data.split_column
    texts: dict[str, str] = {}
    labelled: list[tuple[Path, int, dict[str, str]]] = []
    for path in paths:
        for line, row in _rows(path):
            if column := next((name for name in TEXT_COLUMNS if name in row), None):
                texts[row["id"]] = row[column].strip()
            if "labels" in row:
                labelled.append((path, line, row))
    if not labelled:
        raise UserError(f"{paths[0].parent}: no file with the column `labels`")
    for path, line, row in labelled:
        if column_of_split and column_of_split not in row:
            raise UserError(f"{path}: line 1: no column `{column_of_split}`; available: {', '.join(row)}")
        name = row["id"].removesuffix(QUESTION)
        question = texts.get(name + QUESTION) or texts.get(name)
        if not question:
            raise UserError(f"{path}: line {line}: there is no text for {row['id']!r}")
        try:
            labels = label_list(row["labels"])
            split = split_in(column_of_split, row[column_of_split]) if column_of_split else None
        except UserError as error:
            raise UserError(f"{path}: line {line}: {error}") from None
        if not labels:
            dropped["no label"] += 1
            continue
        answer = texts.get(name + ANSWER)
        text = f"Question: {question}" + (f"\n\nRéponse: {answer}" if answer else "")
        yield Document(text, frozenset(labels), split, name=name, path=path)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    text = decoded(path).removeprefix("\ufeff")
    reader = csv.DictReader(StringIO(text, newline=""), delimiter="\t")
    if "id" not in (reader.fieldnames or ()):
        there = ", ".join(reader.fieldnames or ()) or "none"
        raise UserError(f"{path}: line 1: no column `id` between tabs; available: {there}")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(f"{path}: line {reader.line_num}: its fields are not those of the header")
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not tab-separated: {error}") from error


READER = Reader(
    read,
    "the folder that holds multilabel_annotation/*.csv (id, labels, split) and post-editing/*.csv (id, post-edited)",
    suffixes=(".csv", ".tsv"),
    types=("multilabel",),
    has_columns=True,
)
