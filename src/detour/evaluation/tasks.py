"""From a task's files to its training, validation and test documents, the same for every model and seed.

Rows with the same text, up to case, white space, Unicode form, typography and characters without width, are one
document, so that no drawn split shares a text with another. In a multilabel task such rows add up their labels (one row
a label is a valid layout). In a single-label task they may contradict each other: such a document is left out. Splits
that come with the data are taken as they are; the texts they share are counted. What was left out or merged is counted
too.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detour.config.models import Split, Task, TaskData
from detour.corpus.sources import Table
from detour.errors import UserError
from detour.evaluation.label_values import is_vector, label_names, vector
from detour.evaluation.labels import LABEL_MAPS
from detour.evaluation.supported import check_supported

SPLITS = ("train", "validation", "test")
MOST_LISTED = 10


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
    in more than one of the splits that came with the data), test_seen (test documents whose text another split has)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The vocabulary: every label of the three splits, sorted."""
        documents = (*self.train, *self.validation, *self.test)
        return tuple(sorted(frozenset().union(*(document.labels for document in documents))))

    @property
    def label_counts(self) -> dict[str, dict[str, int]]:
        """Label -> how many documents of each split have it."""
        counts = {split: Counter(label for d in getattr(self, split) for label in d.labels) for split in SPLITS}
        return {label: {split: counts[split][label] for split in SPLITS} for label in self.labels}

    @property
    def notes(self) -> list[str]:
        """What a reader of the score should know of the data, a sentence each."""
        return list(_notes(self.counts, self.label_counts))


def load_task(task: Task, paths: Iterable[Path]) -> TaskDocuments:
    """Raises UserError when the task is not supported, a row is unusable or there are too few documents."""
    check_supported(task)
    assert task.data is not None  # checked just above
    several = task.type == "multilabel"
    rows = [document for path in paths for document in read_documents(path, task.data, several=several)]
    merged = merge_repeated(rows)
    consistent = [document for document in merged if several or len(document.labels) == 1]
    usable = consistent if task.top_labels is None else keep_frequent(consistent, task.top_labels)
    try:
        if task.data.label_format != "name" and task.data.label_map is None:
            check_spelling(consistent)
        splits = given_splits(usable) if task.split is None else draw(usable, task.split)
        check_classes(usable if several else splits[0])
    except ValueError as error:
        raise UserError(f"task {task.name}: {error}") from None
    counts = {name: len(documents) for name, documents in zip(SPLITS, splits, strict=True)} | {
        "rows_merged": len(rows) - len(merged),
        "contradictory": len(merged) - len(consistent),
        "without_frequent_label": len(consistent) - len(usable),
        "shared_texts": len(usable) - len({text_key(document.text) for document in usable}),
        "test_seen": _seen(splits),
    }
    train, validation, test = splits
    return TaskDocuments(train, validation, test, counts)


def _seen(splits: Sequence[Sequence[Document]]) -> int:
    train, validation, test = ({text_key(document.text) for document in split} for split in splits)
    return len(test & (train | validation))


def _notes(counts: Mapping[str, int], labels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    if seen := counts["test_seen"]:
        yield (
            f"{seen:,} of {counts['test']:,} test documents have a text that training or validation has too: "
            "the score may be too high"
        )
    elif shared := counts["shared_texts"]:
        yield f"{shared:,} texts are in both training and validation: the best epoch may be chosen too late"
    if contradictory := counts["contradictory"]:
        yield f"{contradictory:,} texts with contradictory labels are left out"
    if merged := counts["rows_merged"]:
        yield f"{merged:,} rows repeat a text and count as one document with it"
    if without := counts["without_frequent_label"]:
        yield f"{without:,} documents without one of the most frequent labels are left out"
    by_number = sorted(labels, key=lambda label: -labels[label]["train"])
    if absent := [label for label in by_number if not labels[label]["train"]]:
        yield f"{len(absent):,} labels are in no training document: {_listed(absent)}"
    numbers = [f"{label} ({labels[label]['train']:,})" for label in by_number]
    yield f"{len(labels):,} labels, with their training documents: {_listed(numbers)}"


def _listed(names: Sequence[str]) -> str:
    """All of a few; else the first and the last ones."""
    if len(names) <= MOST_LISTED:
        return ", ".join(names)
    half = MOST_LISTED // 2
    return ", ".join([*names[:half], "...", *names[-half:]])


def read_documents(path: Path, data: TaskData, *, several: bool = True) -> Iterator[Document]:
    """One document a row, without the rows that `exclude` matches; `several`: it may have any number of labels."""
    columns = [data.text, data.label] + ([data.split_column] if data.split_column else [])
    table = Table(
        path, columns, format=data.format, separator=data.separator, quoting=data.quoting, exclude=data.exclude
    )
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
            f"{path}: column `{data.label}` holds nothing but zeros and ones, several a row: set "
            "`label_format: vector`, whose labels are named by their position, or `name` or `list` if they are names"
        )


def _same_length(bits: Sequence[bool], before: int | None) -> int:
    if before is not None and len(bits) != before:
        raise UserError(f"its vector of labels has {len(bits)} places, those of the rows before have {before}")
    return len(bits)


def _document(data: TaskData, text: Any, label: Any, split: Any = None, *, several: bool) -> Document:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"column `{data.text}` holds no text; leave such rows out with `exclude`")
    try:
        names = label_names(label, data, several=several)
    except UserError as error:
        raise UserError(f"column `{data.label}` {error}") from None
    if data.split_column and split not in SPLITS:
        raise UserError(f"column `{data.split_column}` holds {split!r}: expected one of {', '.join(SPLITS)}")
    to_label = LABEL_MAPS[data.label_map] if data.label_map else str
    return Document(text, frozenset(map(to_label, names)), split)


def merge_repeated(documents: Iterable[Document]) -> list[Document]:
    """One document a text and given split, with the labels of all its rows; spelt as the first row that spells it as
    the least of their `order_key` does, whatever the order of other rows."""
    merged: dict[tuple[str | None, str], Document] = {}
    for document in documents:
        key = document.split, text_key(document.text)
        known = merged.get(key, document)
        spelt = min(known, document, key=lambda d: order_key(d.text)).text
        merged[key] = Document(spelt, known.labels | document.labels, document.split)
    return list(merged.values())


_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("’‘‛ʼ´`′", "'") | dict.fromkeys("“”„‟«»″", '"') | dict.fromkeys("‐‑‒–—―−", "-")
)
_WITHOUT_WIDTH = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_AROUND_MARKS = re.compile(r"\s*([^\w\s])\s*")


def text_key(text: str) -> str:
    """What two texts share that a reader takes for the same.

    They may differ in case, white space (French puts some before a colon, English none), Unicode form, quotation marks,
    apostrophes, dashes, and characters that take no room.
    """
    shown = _WITHOUT_WIDTH.sub("", text.translate(_TYPOGRAPHY))
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", shown).casefold())
    return _AROUND_MARKS.sub(r"\1", " ".join(plain.translate(_TYPOGRAPHY).split()))


def order_key(text: str) -> str:
    """What a text is drawn by; not `text_key`, so that splits stay what they were."""
    return " ".join(text.casefold().split())


def check_spelling(documents: Iterable[Document]) -> None:
    """Raises ValueError for labels that a reader takes for the same."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        for label in document.labels:
            spellings[text_key(label)].add(label)
    for found in spellings.values():
        if len(found) > 1:
            raise ValueError(
                f"the labels {' and '.join(repr(label) for label in sorted(found))} differ in case, spaces or Unicode "
                "form alone: write them alike, or set `data.label_format: name` to keep them apart"
            )


def check_classes(documents: Iterable[Document]) -> None:
    """Raises ValueError when there are not two classes to distinguish."""
    labels = frozenset().union(*(document.labels for document in documents))
    if len(labels) < 2:
        found = f"one label, {next(iter(labels))!r}" if labels else "no label"
        raise ValueError(f"its documents to train on hold {found}: a task needs two at least")


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
        return hashlib.sha256(f"{split.seed}\n{order_key(document.text)}".encode()).digest()

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
