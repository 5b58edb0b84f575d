"""Which rows each step of each rank reads, and how they become tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset

from detour.corpus.packing import PackedRow
from detour.pretraining.attention import PackedTokens
from detour.pretraining.objectives import IGNORED, Example, Objective, Vocabulary, make_example


class Rows(Protocol):
    """`detour.corpus.packing.PackedRows`, as far as training needs it."""

    def row(self, i: int) -> PackedRow: ...


class FiniteRows(Rows, Protocol):
    def __len__(self) -> int: ...


class Batch(PackedTokens):
    """Rows and what is to be predicted in them."""

    labels: Tensor
    """(predicted tokens,) int64; tokens without a label are left out."""
    label_positions: Tensor
    """(predicted tokens,) int64: where they are among the B * T joined tokens."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Step s reads rows [first_row + s * rows, ... + rows); each rank takes a run of them in the order of ranks."""

    first_row: int
    rows: int
    rank: int = 0
    world_size: int = 1

    def rows_of(self, step: int) -> range:
        share = self.rows // self.world_size
        start = self.first_row + step * self.rows + self.rank * share
        return range(start, start + share)


class StepExamples(IterableDataset[list[Example]]):
    """The examples of one rank, step by step, from `first_step` on: where a run resumes after an interruption."""

    def __init__(
        self,
        rows: Rows,
        objective: Objective,
        vocabulary: Vocabulary,
        seed: int,
        sharing: Sharing,
        steps: range,
    ) -> None:
        self.rows, self.objective, self.vocabulary = rows, objective, vocabulary
        self.seed, self.sharing, self.steps = seed, sharing, steps

    def __iter__(self) -> Iterator[list[Example]]:
        for step in self.steps:
            yield [
                make_example(self.rows.row(i), self.objective, self.vocabulary, (self.seed, i))
                for i in self.sharing.rows_of(step)
            ]


def collate(examples: Sequence[Example]) -> Batch:
    labels = torch.from_numpy(np.concatenate([example.labels for example in examples]))
    positions = (labels != IGNORED).nonzero().flatten()
    lengths = torch.from_numpy(np.concatenate([np.diff(example.cu_seqlens) for example in examples]))
    return {
        "input_ids": torch.from_numpy(np.stack([example.input_ids for example in examples])),
        "position_ids": torch.from_numpy(np.stack([example.position_ids for example in examples])),
        "cu_seqlens": functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32),
        "labels": labels[positions],
        "label_positions": positions,
    }


def microbatches(examples: Sequence[Example], rows: int) -> list[Batch]:
    return [collate(examples[start : start + rows]) for start in range(0, len(examples), rows)]


def count_rows(batch: Sequence[Example] | Batch) -> int:
    return len(batch["input_ids"]) if isinstance(batch, dict) else len(batch)


def count_tokens(batch: Sequence[Example] | Batch) -> int:
    if isinstance(batch, dict):
        return batch["input_ids"].numel()
    return sum(len(example.input_ids) for example in batch)


def count_labels(batch: Sequence[Example] | Batch) -> int:
    """Tokens that the loss is a mean over: the weight of a microbatch in its step."""
    if isinstance(batch, dict):
        return len(batch["labels"])
    return sum(int((example.labels != IGNORED).sum()) for example in batch)
