"""Assign rows to steps and ranks, and collate them into tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import IterableDataset, get_worker_info

from detour.corpus.packing import PackedRow
from detour.flops import Shape, batch_flops
from detour.pretraining.attention import PackedTokens
from detour.pretraining.objectives import IGNORED, Example, Objective, Vocabulary, make_example


class Rows(Protocol):
    """The part of `detour.corpus.packing.PackedRows` that training uses."""

    def row(self, i: int) -> PackedRow: ...


class Batch(PackedTokens):
    """The rows of one forward pass and their labels."""

    labels: Tensor
    """(predicted tokens,) int64; tokens without a label are omitted."""
    label_positions: Tensor
    """(predicted tokens,) int64: their indices among the B * T concatenated tokens."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Step s reads rows [first_row + s * rows, ... + rows); ranks take consecutive, equal parts of them in order."""

    first_row: int
    rows: int
    rank: int = 0
    world_size: int = 1

    def rows_of(self, step: int) -> range:
        share = self.rows // self.world_size
        start = self.first_row + step * self.rows + self.rank * share
        return range(start, start + share)


class StepBatches(IterableDataset[list[Batch]]):
    """The microbatches of one rank for each of `steps`, which begins where the run starts or resumes.

    Batches are fully collated here, so that data loader workers leave nothing to the training process. Each of n
    workers makes every n-th step and the DataLoader takes them in turn, so the order does not depend on n.
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
    """Labelled tokens, which weight a microbatch within its step."""
    return sum(len(batch["labels"]) for batch in _each(batches))


def training_flops(shape: Shape, batches: Iterable[Batch], *, causal: bool) -> float:
    """Forward and backward FLOPs of the documents and labels in these batches."""
    return sum(
        batch_flops(shape, batch["cu_seqlens"].diff().tolist(), len(batch["labels"]), causal=causal)
        for batch in batches
    )


def _each(batches: Batch | Sequence[Batch]) -> Sequence[Batch]:
    return [batches] if isinstance(batches, dict) else batches
