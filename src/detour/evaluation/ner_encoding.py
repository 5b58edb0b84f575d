"""Encode documents with entities as windows of words, and count the entities that a model cannot find."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detour.config.models import Task
from detour.corpus.tokenizer import special_tokens
from detour.evaluation.encoding import reader_of
from detour.evaluation.windows import Place, Window, cut, first_tokens, word_places
from detour.tasks.document import Document, Entity
from detour.tasks.entities import without_overlaps
from detour.tasks.loading import TaskDocuments

LONGEST_SPAN = 64
"""In words; longer entities are not searched for."""
Target = tuple[int, int, int]
"""First word, last word and label of an entity in a window."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How many entities a model cannot find, by reason; duplicates count once."""

    entities: int
    cut: int
    """Split by the end of a window."""
    unaligned: int
    """Beginning or ending inside a word or in white space, so that only another span can be found, or none."""
    too_long: int
    """With more words than the longest span that is scored."""
    discontinuous: int
    """Discontinuous: only the covering span can be found, not the fragments."""
    overlapping: int
    """In a flat task: overlapping a longer entity, and therefore excluded, also from the score."""


@dataclass(frozen=True, slots=True)
class EncodedEntities:
    windows: list[Window]
    targets: list[list[Target]]
    """The entities of each window."""
    documents: tuple[Document, ...]
    """With all their entities; `scored` selects those that count."""
    reach: Reach


@dataclass(frozen=True, slots=True)
class EncodedNer:
    labels: tuple[str, ...]
    train: EncodedEntities
    validation: EncodedEntities
    test: EncodedEntities
    longest_span: int
    """In words: the longest training entity, the limit for predicted spans."""
    padding_id: int
    max_length: int
    """Of a window, in tokens."""

    @property
    def notes(self) -> list[str]:
        """None: no text is left out, and `Reach` has the counts of entities."""
        return []


def encode_ner(documents: TaskDocuments, task: Task, model_folder: Path) -> EncodedNer:
    tokenizer, max_length = reader_of(model_folder, task.max_length)
    labels = documents.labels
    numbers = {label: number for number, label in enumerate(labels)}
    train = _Split(documents.train, task, tokenizer, max_length, numbers)
    widths = [last - first + 1 for targets in train.targets for first, last, _ in targets]
    longest = min(max(widths, default=1), LONGEST_SPAN)
    return EncodedNer(
        labels=labels,
        train=train.encoded(longest),
        validation=_Split(documents.validation, task, tokenizer, max_length, numbers).encoded(longest),
        test=_Split(documents.test, task, tokenizer, max_length, numbers).encoded(longest),
        longest_span=longest,
        padding_id=tokenizer.pad_token_id,
        max_length=max_length,
    )


class _Split:
    """Collects the windows and targets of a split's documents."""

    def __init__(
        self, documents: Sequence[Document], task: Task, tokenizer: Any, max_length: int, labels: Mapping[str, int]
    ) -> None:
        self.documents = tuple(documents)
        self.is_flat = task.entities == "flat"
        self.tokenizer, self.capacity, self.labels = tokenizer, max_length - 2, labels
        self.special = special_tokens(tokenizer)
        self.windows: list[Window] = []
        self.targets: list[list[Target]] = []
        self.cut = self.unaligned = 0
        for number, document in enumerate(documents):
            self._add(number, document)

    def _add(self, number: int, document: Document) -> None:
        encoding = self.tokenizer(document.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids: list[int] = encoding["input_ids"]
        words = word_places(document.text)
        firsts = first_tokens(words, [_shown(document.text, place) for place in encoding["offset_mapping"]])
        ranges = cut(document.text, words, firsts, len(ids), self.capacity)
        for (start, end), targets in zip(ranges, self._targets(document, words, ranges), strict=True):
            begin, stop = firsts[start], firsts[end] if end < len(words) else len(ids)
            kept = ids[begin:stop][: self.capacity]
            positions = [min(1 + firsts[word] - begin, len(kept)) for word in range(start, end)]
            token_ids = [self.special.cls, *kept, self.special.sep]
            self.windows.append(Window(number, token_ids, list(words[start:end]), positions))
            self.targets.append(targets)

    def _targets(self, document: Document, words: Sequence[Place], ranges: Sequence[Place]) -> list[list[Target]]:
        """The entities that lie completely inside each range of words; the others are counted."""
        starts = [start for start, _ in ranges]
        targets: list[set[Target]] = [set() for _ in ranges]
        for entity in scored(document, is_flat=self.is_flat):
            first, last = _words_of(entity, words)
            if last < first:
                self.unaligned += 1
                continue
            self.unaligned += (words[first][0], words[last][1]) != (entity.start, entity.end)
            start, end = ranges[window := bisect_right(starts, first) - 1]
            if last < end:
                targets[window].add((first - start, last - start, self.labels[entity.label]))
            else:
                self.cut += 1
        return [sorted(found) for found in targets]

    def encoded(self, longest: int) -> EncodedEntities:
        kept = [scored(document, is_flat=self.is_flat) for document in self.documents]
        wide = sum(last - first >= longest for targets in self.targets for first, last, _ in targets)
        reach = Reach(
            entities=sum(map(len, kept)),
            cut=self.cut,
            unaligned=self.unaligned,
            too_long=0 if self.is_flat else wide,
            discontinuous=sum(entity.is_discontinuous for entities in kept for entity in entities),
            overlapping=sum(len(distinct(document)) for document in self.documents) - sum(map(len, kept)),
        )
        return EncodedEntities(self.windows, self.targets, self.documents, reach)


def distinct(document: Document) -> list[Entity]:
    """The document's entities without duplicates."""
    return list({(entity.label, entity.fragments): entity for entity in document.entities}.values())


def scored(document: Document, *, is_flat: bool) -> list[Entity]:
    """The entities that count for the score; in a flat task those that do not overlap."""
    return without_overlaps(distinct(document)) if is_flat else distinct(document)


def _words_of(entity: Entity, words: Sequence[Place]) -> Place:
    """The first and last word that share a character with the entity's covering span; for white space, last < first."""
    first = bisect_right(words, entity.start, key=lambda place: place[1])
    return first, bisect_left(words, entity.end, key=lambda place: place[0]) - 1


def _shown(text: str, place: Place) -> Place:
    """A token's span without the surrounding white space that byte-level tokenizers include."""
    start, end = place
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip())) if piece.strip() else end
