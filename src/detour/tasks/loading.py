"""Load a task's training, validation and test documents, the same for every model and seed.

Rows with the same text, apart from case, white space, Unicode form, typography and zero-width characters, are one
document, so drawn splits share no text. In a multilabel task their labels are combined (one row per label is a valid
layout). In a single-label task, a document whose rows contradict each other is left out. Documents with entities are
not merged. Splits that come with the data are used unchanged, and the texts they share are counted, as are rows left
out or merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from detour.config.models import Task, TaskData
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
    """train, validation, test; rows_merged; contradictory and without_frequent_label (left out); shared_texts (texts in
    more than one split); test_seen (test documents whose text another split contains)."""
    dropped: Mapping[str, int]
    """Reason for which rows were left out -> number of rows."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels of the three splits, sorted."""
        documents = (*self.train, *self.validation, *self.test)
        return tuple(sorted(frozenset().union(*(document.names for document in documents))))

    @property
    def label_counts(self) -> dict[str, dict[str, int]]:
        """Label -> split -> number of documents with it, or of entities in a task of type `ner`."""
        counts = {split: Counter(label for d in getattr(self, split) for label in _marks(d)) for split in SPLITS}
        return {label: {split: counts[split][label] for split in SPLITS} for label in self.labels}

    @property
    def entity_counts(self) -> dict[str, EntityCounts]:
        """Counts of each split; all 0 in a task without entities."""
        return {split: count_entities(getattr(self, split)) for split in SPLITS}

    @property
    def notes(self) -> list[str]:
        """What a reader of the scores should know about the data, one sentence each."""
        entities = {split: asdict(counts) for split, counts in self.entity_counts.items()}
        unit = "entities" if any(counts["entities"] for counts in entities.values()) else "documents"
        noted = data_notes(self.counts, self.label_counts, unit)
        left_out = [
            f"{counted(number, 'row is', 'rows are')} left out: {reason}" for reason, number in self.dropped.items()
        ]
        return [*noted, *entity_notes(entities), *left_out]


def load_task(task: Task, paths: Iterable[Path]) -> TaskDocuments:
    """Load a task. Raises UserError if it is not supported, a row is unusable or there are too few documents."""
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
    _check_selection(task.data, rows)
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
        **_shared(splits),
    }
    train, validation, test = splits
    return TaskDocuments(train, validation, test, counts, dropped)


def _check_selection(data: TaskData, documents: Iterable[Document]) -> None:
    """Raise ValueError if what the recipe selects is in no document."""
    selected = [f"`entity_labels` ({', '.join(data.entity_labels)})"] if data.entity_labels else []
    selected += [f"`terminology` ({data.terminology})"] if data.terminology else []
    if selected and not any(document.names for document in documents):
        raise ValueError(f"{' and '.join(selected)} select nothing: no annotation has such a name")


def _marks(document: Document) -> Iterable[str]:
    """Return the label of each of a document's entities, or its own labels."""
    return [entity.label for entity in document.entities] or document.labels


def _shared(splits: Sequence[Sequence[Document]]) -> dict[str, int]:
    """Count texts in more than one split, and test documents whose text is in another split too; blank ones do not."""
    keys = [[key for document in split if (key := text_key(document.text))] for split in splits]
    train, validation, test = map(set, keys)
    return {
        "shared_texts": len((train & validation) | (train & test) | (validation & test)),
        "test_seen": sum(key in train or key in validation for key in keys[2]),
    }


def check_classes(documents: Iterable[Document], *, least: int = 2) -> None:
    """Raise ValueError if there are fewer than `least` classes."""
    labels = frozenset().union(*(document.names for document in documents))
    if len(labels) < least:
        found = f"one label, {next(iter(labels))!r}" if labels else "no label"
        needed = "two at least" if least == 2 else "one at least"
        raise ValueError(f"its documents to train on hold {found}: a task needs {needed}")


def keep_frequent(documents: Sequence[Document], top_labels: int) -> list[Document]:
    """Keep the most frequent labels (of equal ones, the first by name), and the documents that have one of them.

    Labels are counted over all documents, before any split, as in the published harness.
    """
    counts = Counter(label for document in documents for label in document.labels)
    frequent = frozenset(sorted(counts, key=lambda label: (-counts[label], label))[:top_labels])
    kept = (replace(document, labels=document.labels & frequent) for document in documents)
    return [document for document in kept if document.labels]
