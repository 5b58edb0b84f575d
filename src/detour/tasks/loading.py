"""From a task's files to its training, validation and test documents, the same for every model and seed.

Rows with the same text, up to case, white space, Unicode form, typography and characters without width, are one
document, so that no drawn split shares a text with another. In a multilabel task such rows add up their labels (one row
a label is a valid layout). In a single-label task they may contradict each other: such a document is left out. A task
of entities keeps its documents as they are. Splits that come with the data are taken as they are; the texts they share
are counted. What was left out or merged is counted too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from detour.config.models import Task
from detour.errors import UserError
from detour.tasks.document import SPLITS, Document
from detour.tasks.entities import EntityCounts, count_entities
from detour.tasks.notes import data_notes, entity_notes
from detour.tasks.readers.registry import reader_named
from detour.tasks.repeats import check_spelling, merge_repeated, text_key
from detour.tasks.splits import draw, given_splits, split_by_files
from detour.tasks.supported import check_supported
from detour.text import counted


@dataclass(frozen=True, slots=True)
class TaskDocuments:
    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    test: tuple[Document, ...]
    counts: dict[str, int]
    """train, validation, test; and rows_merged, contradictory, without_frequent_label (left out), shared_texts (texts
    in more than one of the splits that came with the data), test_seen (test documents whose text another split has)."""
    dropped: Mapping[str, int]
    """Why rows are no documents -> how many."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The vocabulary: every label of the three splits, sorted."""
        documents = (*self.train, *self.validation, *self.test)
        return tuple(sorted(frozenset().union(*(document.names for document in documents))))

    @property
    def label_counts(self) -> dict[str, dict[str, int]]:
        """Label -> how many documents of each split have it; of a task of entities, how many entities."""
        counts = {split: Counter(label for d in getattr(self, split) for label in _marks(d)) for split in SPLITS}
        return {label: {split: counts[split][label] for split in SPLITS} for label in self.labels}

    @property
    def entity_counts(self) -> dict[str, EntityCounts]:
        """Of each split; all 0 in a task without entities."""
        return {split: count_entities(getattr(self, split)) for split in SPLITS}

    @property
    def notes(self) -> list[str]:
        """What a reader of the score should know of the data, a sentence each."""
        entities = {split: asdict(counts) for split, counts in self.entity_counts.items()}
        unit = "entities" if any(counts["entities"] for counts in entities.values()) else "documents"
        noted = data_notes(self.counts, self.label_counts, unit)
        left_out = [
            f"{counted(number, 'row is', 'rows are')} left out: {reason}" for reason, number in self.dropped.items()
        ]
        return [*noted, *entity_notes(entities), *left_out]


def load_task(task: Task, paths: Iterable[Path]) -> TaskDocuments:
    """Raises UserError when the task is not supported, a row is unusable or there are too few documents."""
    check_supported(task)
    try:
        return _load(task, list(paths))
    except ValueError as error:
        raise UserError(f"task {task.name}: {error}") from None


def _load(task: Task, paths: Sequence[Path]) -> TaskDocuments:
    assert task.data is not None  # checked before
    several, has_entities = task.type == "multilabel", task.type == "ner"
    dropped: Counter[str] = Counter()
    rows = list(reader_named(task.data.layout).read(paths, task, dropped))
    if task.data.split_files:
        rows = split_by_files(rows, paths)
    merged = rows if has_entities else merge_repeated(rows)
    consistent = [document for document in merged if task.type != "single_label" or len(document.labels) == 1]
    usable = consistent if task.top_labels is None else keep_frequent(consistent, task.top_labels)
    if task.data.label_format != "name" and task.data.label_map is None:
        check_spelling(consistent)
    splits = given_splits(usable) if task.split is None else draw(usable, task.split)
    check_classes(usable if several else splits[0], least=1 if has_entities else 2)
    counts = {name: len(documents) for name, documents in zip(SPLITS, splits, strict=True)} | {
        "rows_merged": len(rows) - len(merged),
        "contradictory": len(merged) - len(consistent),
        "without_frequent_label": len(consistent) - len(usable),
        "shared_texts": len(usable) - len({text_key(document.text) for document in usable}),
        "test_seen": _seen(splits),
    }
    train, validation, test = splits
    return TaskDocuments(train, validation, test, counts, dropped)


def _marks(document: Document) -> Iterable[str]:
    """A document's labels, or the label of each of its entities."""
    return [entity.label for entity in document.entities] or document.labels


def _seen(splits: Sequence[Sequence[Document]]) -> int:
    train, validation, test = ({text_key(document.text) for document in split} for split in splits)
    return len(test & (train | validation))


def check_classes(documents: Iterable[Document], *, least: int = 2) -> None:
    """Raises ValueError when there are not so many classes to distinguish."""
    labels = frozenset().union(*(document.names for document in documents))
    if len(labels) < least:
        found = f"one label, {next(iter(labels))!r}" if labels else "no label"
        needed = "two at least" if least == 2 else "one at least"
        raise ValueError(f"its documents to train on hold {found}: a task needs {needed}")


def keep_frequent(documents: Sequence[Document], top_labels: int) -> list[Document]:
    """Only the labels that most documents have (among equals, the first by name), and the documents that have one.

    Counted over all documents, before any split, as the published harness does.
    """
    counts = Counter(label for document in documents for label in document.labels)
    frequent = frozenset(sorted(counts, key=lambda label: (-counts[label], label))[:top_labels])
    kept = (replace(document, labels=document.labels & frequent) for document in documents)
    return [document for document in kept if document.labels]
