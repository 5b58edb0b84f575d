"""From a task's files to its training, validation and test documents, the same for every model and seed.

Rows with the same text, up to case and white space, are one document, so that no drawn split shares a text with
another. In a multilabel task such rows add up their labels (one row a label is a valid layout). In a single-label task
they may contradict each other: such a document is left out. Splits that come with the data are taken as they are; the
texts they share are counted. What was left out or merged is counted too.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detour.config.models import Split, Task, TaskData
from detour.corpus.sources import Table
from detour.errors import UserError
from detour.evaluation.labels import LABEL_MAPS
from detour.evaluation.supported import check_supported

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    labels: frozenset[str]
    split: str | None = None
    """The one that the data give."""


@dataclass(frozen=True, slots=True)
class TaskDocuments:
    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    test: tuple[Document, ...]
    counts: dict[str, int]
    """train, validation, test; and rows_merged, contradictory, without_frequent_label (left out), shared_texts (texts
    in more than one of the splits that came with the data)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The vocabulary: every label of the three splits, sorted."""
        documents = (*self.train, *self.validation, *self.test)
        return tuple(sorted(frozenset().union(*(document.labels for document in documents))))


def load_task(task: Task, paths: Iterable[Path]) -> TaskDocuments:
    """Raises UserError when the task is not supported, a row is unusable or there are too few documents."""
    check_supported(task)
    assert task.data is not None  # checked just above
    rows = [document for path in paths for document in read_documents(path, task.data)]
    merged = merge_repeated(rows)
    consistent = [document for document in merged if task.type == "multilabel" or len(document.labels) == 1]
    usable = consistent if task.top_labels is None else keep_frequent(consistent, task.top_labels)
    try:
        splits = given_splits(usable) if task.split is None else draw(usable, task.split)
    except ValueError as error:
        raise UserError(f"task {task.name}: {error}") from None
    counts = {name: len(documents) for name, documents in zip(SPLITS, splits, strict=True)} | {
        "rows_merged": len(rows) - len(merged),
        "contradictory": len(merged) - len(consistent),
        "without_frequent_label": len(consistent) - len(usable),
        "shared_texts": len(usable) - len({text_key(document.text) for document in usable}),
    }
    train, validation, test = splits
    return TaskDocuments(train, validation, test, counts)


def read_documents(path: Path, data: TaskData) -> Iterator[Document]:
    """One document a row, without the rows that `exclude` matches."""
    columns = [data.text, data.label] + ([data.split_column] if data.split_column else [])
    table = Table(path, columns, format=data.format, separator=data.separator, exclude=data.exclude)
    for text, label, *split in table:
        try:
            yield _document(data, text, label, *split)
        except UserError as error:
            raise table.error(str(error)) from None


def _document(data: TaskData, text: Any, label: Any, split: Any = None) -> Document:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"column `{data.text}` holds no text; leave such rows out with `exclude`")
    values = label if isinstance(label, list) else [label]
    if any(value is None or value == "" for value in values):
        raise UserError(f"column `{data.label}` holds no label; leave such rows out with `exclude`")
    if data.split_column and split not in SPLITS:
        raise UserError(f"column `{data.split_column}` holds {split!r}: expected one of {', '.join(SPLITS)}")
    to_label = LABEL_MAPS[data.label_map] if data.label_map else str
    return Document(text, frozenset(to_label(str(value)) for value in values), split)


def merge_repeated(documents: Iterable[Document]) -> list[Document]:
    """One document a text and given split, spelt as its first row spells it, with the labels of all its rows."""
    merged: dict[tuple[str | None, str], Document] = {}
    for document in documents:
        key = document.split, text_key(document.text)
        first = merged.get(key, document)
        merged[key] = Document(first.text, first.labels | document.labels, first.split)
    return list(merged.values())


def text_key(text: str) -> str:
    """What two texts share when they differ only in case and white space."""
    return " ".join(text.casefold().split())


def keep_frequent(documents: Sequence[Document], top_labels: int) -> list[Document]:
    """Only the labels that most documents have (among equals, the first by name), and the documents that have one.

    Counted over all documents, before any split, as the published harness does.
    """
    counts = Counter(label for document in documents for label in document.labels)
    frequent = frozenset(sorted(counts, key=lambda label: (-counts[label], label))[:top_labels])
    kept = (Document(document.text, document.labels & frequent, document.split) for document in documents)
    return [document for document in kept if document.labels]


def given_splits(documents: Sequence[Document]) -> tuple[tuple[Document, ...], ...]:
    """Raises ValueError when one of the three is empty."""
    splits = tuple(tuple(document for document in documents if document.split == name) for name in SPLITS)
    if empty := [name for name, members in zip(SPLITS, splits, strict=True) if not members]:
        raise ValueError(f"the data's own split leaves {' and '.join(empty)} without a document")
    return splits


def draw(documents: Sequence[Document], split: Split) -> tuple[tuple[Document, ...], ...]:
    """Training, validation and test documents, in the order of SHA-256(seed, text).

    The order depends neither on the rows' order nor on a library's random generator, so it holds across versions.
    Percentages are of all documents; what rounding leaves goes to the test split. Raises ValueError when there are too
    few documents.
    """

    def position(document: Document) -> bytes:
        return hashlib.sha256(f"{split.seed}\n{text_key(document.text)}".encode()).digest()

    train, validation, test = split.train, split.validation, split.test
    if split.unit == "percent":
        train, validation = len(documents) * train // 100, len(documents) * validation // 100
        test = len(documents) - train - validation
    if len(documents) < train + validation + test or not (train and validation and test):
        asked = f"{split.train:,} / {split.validation:,} / {split.test:,} {split.unit}"
        raise ValueError(f"`split` asks for {asked} and there are {len(documents):,} different documents")
    shuffled = tuple(sorted(documents, key=position))
    ends = (train, train + validation, train + validation + test)
    return tuple(shuffled[start:end] for start, end in zip((0, *ends[:2]), ends, strict=True))
