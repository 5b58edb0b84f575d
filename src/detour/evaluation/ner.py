"""Named-entity recognition: items are windows of documents, merged again for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detour.config.models import Task
from detour.evaluation.batches import Indices, pad, sorted_batches
from detour.evaluation.classifier import load_encoder
from detour.evaluation.entity_scores import by_span, entity_scores, membership
from detour.evaluation.metrics import PRIMARY_METRIC, class_scores
from detour.evaluation.ner_decoding import Found, flat_spans, nested_spans, tag_of
from detour.evaluation.ner_encoding import EncodedEntities, EncodedNer, Target, scored
from detour.evaluation.ner_heads import EncoderTagger, Words
from detour.evaluation.windows import Window
from detour.evaluation.workload import Held, TaskModel
from detour.tasks.document import Entity

PROBABILITY_DIGITS = 4


@dataclass(frozen=True, slots=True)
class FoundEntity:
    entity: Entity
    probability: float


@dataclass(frozen=True, slots=True)
class EntityRecognition:
    """A `detour.evaluation.workload.Workload`."""

    task: Task
    data: EncodedNer

    @property
    def primary_metric(self) -> str:
        return PRIMARY_METRIC[self.task.type]

    @property
    def is_flat(self) -> bool:
        return self.task.entities == "flat"

    @property
    def train_lengths(self) -> Sequence[int]:
        return [len(window.token_ids) for window in self.data.train.windows]

    def build_model(self, folder: Path) -> EncoderTagger:
        widths = None if self.is_flat else self.data.longest_span
        return EncoderTagger(load_encoder(folder), len(self.data.labels), widths)

    def build_loss(self, device: torch.device) -> nn.Module:  # noqa: ARG002
        return nn.CrossEntropyLoss() if self.is_flat else nn.BCEWithLogitsLoss(reduction="sum")

    def loss(self, model: TaskModel, criterion: nn.Module, batch: Indices) -> Tensor:
        """The mean over words; for nested entities, a word's loss is the sum over the spans that begin there.

        Most spans are not entities, and would dominate a mean over spans.
        """
        windows = [self.data.train.windows[index] for index in batch]
        targets = [self.data.train.targets[index] for index in batch]
        device = next(model.parameters()).device
        logits = model(self._words(model, windows))
        counts = torch.tensor([len(window.places) for window in windows])
        truth, there = (tag_targets if self.is_flat else span_targets)(targets, counts, logits.shape)
        loss: Tensor = criterion(*_there(there, logits, truth, device))
        return loss if self.is_flat else loss / float(counts.sum())

    def weight(self, batch: Indices) -> float:
        return float(sum(len(self.data.train.windows[index].places) for index in batch))

    def decide(self, model: TaskModel, split: Held, batch_items: int) -> list[list[FoundEntity]]:
        data: EncodedEntities = getattr(self.data, split)
        found: list[list[FoundEntity]] = [[] for _ in data.documents]
        lengths = [len(window.token_ids) for window in data.windows]
        for batch in sorted_batches(lengths, batch_items):
            windows = [data.windows[index] for index in batch]
            logits = model(self._words(model, windows)).float().cpu().numpy()
            for window, row in zip(windows, logits, strict=True):
                row = row[: len(window.places)]
                spans = flat_spans(row) if self.is_flat else nested_spans(row, self.task.threshold)
                found[window.document] += [self._entity(window, span) for span in spans]
        return [sorted(one, key=lambda each: (each.entity.fragments, each.entity.label)) for one in found]

    def scores(self, split: Held, decided: list[list[FoundEntity]]) -> dict[str, float]:
        found = [[one.entity for one in entities] for entities in decided]
        return entity_scores(self._truth(split), found, self.data.labels, is_flat=self.is_flat)

    def result(self, decided: list[list[FoundEntity]]) -> dict[str, Any]:
        """The fields of the result that only this kind of task has."""
        found = [[one.entity for one in entities] for entities in decided]
        matrices = membership(self._truth("test"), found, self.data.labels, by_span)
        splits = {"train": self.data.train, "validation": self.data.validation, "test": self.data.test}
        return {
            "classes": class_scores(*matrices, self.data.labels),
            "entities": {name: asdict(split.reach) for name, split in splits.items()},
            "longest_span_words": None if self.is_flat else self.data.longest_span,
        }

    def predictions(self, decided: list[list[FoundEntity]]) -> list[dict[str, Any]]:
        """One entry per test document: entities as [label, fragments], predicted ones with a probability appended."""
        rows = zip(self.data.test.documents, self._truth("test"), decided, strict=True)
        return [
            {
                "document": document.name,
                "truth": [[entity.label, list(map(list, entity.fragments))] for entity in truth],
                "decided": [
                    [
                        one.entity.label,
                        list(map(list, one.entity.fragments)),
                        round(one.probability, PROBABILITY_DIGITS),
                    ]
                    for one in found
                ],
            }
            for document, truth, found in rows
        ]

    def _truth(self, split: Held) -> list[list[Entity]]:
        data: EncodedEntities = getattr(self.data, split)
        return [scored(document, is_flat=self.is_flat) for document in data.documents]

    def _entity(self, window: Window, span: Found) -> FoundEntity:
        first, last, label, probability = span
        fragment = window.places[first][0], window.places[last][1]
        return FoundEntity(Entity(self.data.labels[label], (fragment,)), probability)

    def _words(self, model: TaskModel, windows: Sequence[Window]) -> Words:
        token_ids = [window.token_ids for window in windows]
        joined = model.sequences(
            token_ids, self.data.padding_id, most=self.task.batch_sequences, longest=self.data.max_length
        )
        positions, _ = pad([window.positions for window in windows], 0)
        lengths = torch.tensor([len(window.places) for window in windows])
        return Words(joined, torch.from_numpy(positions).to(next(model.parameters()).device), lengths)


Targets = Sequence[Sequence[Target]]
"""The targets of each window of a batch."""


def tag_targets(targets: Targets, counts: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Tags (windows, words) and a mask of the real ones; `shape` is (windows, words, tags)."""
    tags = torch.zeros(tuple(shape[:2]), dtype=torch.long)
    for row, found in enumerate(targets):
        for first, last, label in found:
            tags[row, first] = tag_of(label, is_first=True)
            tags[row, first + 1 : last + 1] = tag_of(label, is_first=False)
    return tags, torch.arange(shape[1]) < counts[:, None]


def span_targets(targets: Targets, counts: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """0 or 1 for each (window, word, width, label), and a mask of the spans that end inside their window."""
    truth = torch.zeros(tuple(shape))
    entities = [
        (row, first, last - first, label)
        for row, found in enumerate(targets)
        for first, last, label in found
        if last - first < shape[2]
    ]
    if entities:
        truth[tuple(torch.tensor(entities).T)] = 1.0
    ends = torch.arange(shape[1])[:, None] + torch.arange(shape[2])
    return truth, ends < counts[:, None, None]


def _there(there: Tensor, logits: Tensor, truth: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Both without padding. The mask is resolved on the CPU, because on a GPU it would synchronize."""
    kept, last = there.flatten().nonzero().squeeze(1), there.ndim - 1
    return (
        logits.flatten(0, last).index_select(0, kept.to(device)),
        truth.flatten(0, last).index_select(0, kept).to(device),
    )
