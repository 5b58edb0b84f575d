"""Which rows each step of each rank reads, and how they become tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset, get_worker_info

from detour.corpus.packing import PackedRow
from detour.pretraining.attention import PackedTokens
from detour.pretraining.objectives import IGNORED, Example, Objective, Vocabulary, make_example


class Rows(Protocol):
    """`detour.corpus.packing.PackedRows`, as far as training needs it."""

    def row(self, i: int) -> PackedRow: ...


class FiniteRows(Rows, Protocol):
    def __len__(self) -> int: ...


class Batch(PackedTokens):
    """Rows of one forward pass, and what is to be predicted in them."""

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


class StepBatches(IterableDataset[list[Batch]]):
    """The microbatches of one rank, step by step, from the first of `steps` on: where a run resumes after a stop.

    They are complete here, so that with workers nothing is left to do beside the device. Of n workers each makes every
    n-th step, and a DataLoader takes them in turn: the order does not depend on n.
    """

    def __init__(
        self,
        rows: Rows,
        objective: Objective,
        vocabulary: Vocabulary,
        seed: int,
        sharing: Sharing,
        steps: range,
        microbatch_rows: int,
    ) -> None:
        self.rows, self.objective, self.vocabulary = rows, objective, vocabulary
        self.seed, self.sharing, self.steps, self.microbatch_rows = seed, sharing, steps, microbatch_rows

    def __iter__(self) -> Iterator[list[Batch]]:
        worker = get_worker_info()
        for step in self.steps if worker is None else self.steps[worker.id :: worker.num_workers]:
            numbers, rows = self.sharing.rows_of(step), self.microbatch_rows
            yield [self._batch(numbers[start : start + rows]) for start in range(0, len(numbers), rows)]

    def _batch(self, numbers: range) -> Batch:
        return collate(
            [make_example(self.rows.row(i), self.objective, self.vocabulary, (self.seed, i)) for i in numbers]
        )


def collate(examples: Sequence[Example]) -> Batch:
    labels = torch.from_numpy(np.concatenate([example.labels for example in examples]))
    positions = (labels != IGNORED).nonzero().flatten()
    lengths = torch.from_numpy(np.concatenate([np.diff(example.cu_seqlens) for example in examples]))
    return {
        "input_ids": torch.from_numpy(np.stack([example.input_ids for example in examples])),
        "position_ids": torch.from_numpy(np.stack([example.position_ids for example in examples])),
        "cu_seqlens": functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32),
        "longest": int(lengths.max()),
        "labels": labels[positions],
        "label_positions": positions,
    }


def to_device(batch: Batch, device: torch.device) -> Batch:
    moved = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in batch.items()}
    return cast(Batch, moved)


def count_rows(batches: Batch | Sequence[Batch]) -> int:
    return sum(len(batch["input_ids"]) for batch in _each(batches))


def count_tokens(batches: Batch | Sequence[Batch]) -> int:
    return sum(batch["input_ids"].numel() for batch in _each(batches))


def count_labels(batches: Batch | Sequence[Batch]) -> int:
    """Tokens that the loss is a mean over: the weight of a microbatch in its step."""
    return sum(len(batch["labels"]) for batch in _each(batches))


def _each(batches: Batch | Sequence[Batch]) -> Sequence[Batch]:
    return [batches] if isinstance(batches, dict) else batches
