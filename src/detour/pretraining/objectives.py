"""What a row of packed documents asks the model to predict: every next token, or the tokens that were masked.

Labels are made where the rows are read, so that one loss serves both objectives. What is masked is a pure function
of the seed and the row's number: it does not depend on batches, ranks, workers or on where a run was resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detour.config.models import Phase
from detour.corpus.layout import Index
from detour.corpus.packing import PackedRow

IGNORED = -100
"""Label of a token that is not predicted."""
MASKED, RANDOM = 0.8, 0.1
"""Of the tokens chosen: shares replaced by [MASK] and by a random token; the rest stay as they are (BERT's rule)."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What masking must know of a tokenizer."""

    size: int
    mask_id: int
    special_ids: tuple[int, ...]
    """Masked only where the recipe says so, and padding never."""
    pad_id: int = 0

    @classmethod
    def of(cls, index: Index) -> Vocabulary:
        special = index.special_tokens
        ids = (special.pad, special.cls, special.sep, special.mask, special.unk)
        return cls(index.vocabulary, special.mask, tuple(sorted({i for i in ids if i is not None})), special.pad)


@dataclass(frozen=True, slots=True)
class Objective:
    kind: Literal["causal", "masked"]
    masking_rate: float | None = None
    mask_special_tokens: bool = False

    @classmethod
    def of(cls, phase: Phase) -> Objective:
        return cls(phase.objective, phase.masking_rate, phase.mask_special_tokens)

    @property
    def causal(self) -> bool:
        return self.kind == "causal"


class Example(NamedTuple):
    """A row ready for the model; arrays are (T,) but for `cu_seqlens`."""

    input_ids: Ids
    labels: Ids
    position_ids: Ids
    cu_seqlens: NDArray[np.int32]


def make_example(row: PackedRow, objective: Objective, vocabulary: Vocabulary, seed: tuple[int, ...]) -> Example:
    """`seed` is (seed, number of the row); a causal objective does not use it."""
    positions = position_ids(row.cu_seqlens)
    if objective.masking_rate is None:
        return Example(row.input_ids, causal_labels(row.input_ids, row.cu_seqlens), positions, row.cu_seqlens)
    generator = np.random.default_rng(seed)
    excluded = (vocabulary.pad_id,) if objective.mask_special_tokens else vocabulary.special_ids
    ids, labels = mask_tokens(row.input_ids, objective.masking_rate, vocabulary, generator, excluded)
    return Example(ids, labels, positions, row.cu_seqlens)


def causal_labels(ids: Ids, cu_seqlens: NDArray[np.int32]) -> Ids:
    """The token that follows, nothing after the last one of each document."""
    labels = np.full_like(ids, IGNORED)
    labels[:-1] = ids[1:]
    labels[cu_seqlens[1:] - 1] = IGNORED
    return labels


def mask_tokens(
    ids: Ids, rate: float, vocabulary: Vocabulary, generator: np.random.Generator, excluded: tuple[int, ...] = ()
) -> tuple[Ids, Ids]:
    """(what the model reads, what it must predict); tokens not `excluded` are chosen with probability `rate`."""
    chosen = (generator.random(ids.shape) < rate) & ~np.isin(ids, excluded)
    fate = generator.random(ids.shape)
    random_ids = generator.integers(vocabulary.size, size=ids.shape)
    read = np.where(chosen & (fate < MASKED), vocabulary.mask_id, ids)
    read = np.where(chosen & (fate >= 1.0 - RANDOM), random_ids, read)
    return read, np.where(chosen, ids, IGNORED)


def position_ids(cu_seqlens: NDArray[np.int32]) -> Ids:
    """0, 1, 2... from 0 again in every document."""
    starts = cu_seqlens[:-1].astype(np.int64)
    return np.arange(cu_seqlens[-1], dtype=np.int64) - np.repeat(starts, np.diff(cu_seqlens))
