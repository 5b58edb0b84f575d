"""Labels for rows of packed documents: every next token, or the masked tokens.

Labels are made where rows are read, so one loss serves both objectives. The mask is a pure function of the seed and the
row's index: it does not depend on batches, ranks, workers or on where a run resumed.
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
"""Fractions of the chosen tokens replaced by [MASK] and by a random token; the rest are unchanged (as in BERT)."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The properties of a tokenizer that masking needs."""

    size: int
    mask_id: int
    special_ids: tuple[int, ...]
    """Masked only if the recipe says so; padding is never masked."""
    padding_ids: tuple[int, ...] = (0,)
    """Empty if documents end with the padding token, as a tokenizer may have one token for both."""

    @classmethod
    def of(cls, index: Index) -> Vocabulary:
        special = index.special_tokens
        ids = (special.pad, special.cls, special.sep, special.mask, special.unk)
        padding = () if special.pad in (special.cls, special.sep) else (special.pad,)
        return cls(index.vocabulary, special.mask, tuple(sorted({i for i in ids if i is not None})), padding)


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
    """A row ready for the model; all arrays except `cu_seqlens` are (T,)."""

    input_ids: Ids
    labels: Ids
    position_ids: Ids
    cu_seqlens: NDArray[np.int32]


def make_example(row: PackedRow, objective: Objective, vocabulary: Vocabulary, seed: tuple[int, ...]) -> Example:
    """`seed` is (seed, row index); the causal objective ignores it."""
    positions = position_ids(row.cu_seqlens)
    if objective.masking_rate is None:
        return Example(row.input_ids, causal_labels(row.input_ids, row.cu_seqlens), positions, row.cu_seqlens)
    generator = np.random.default_rng(seed)
    excluded = vocabulary.padding_ids if objective.mask_special_tokens else vocabulary.special_ids
    ids, labels = mask_tokens(row.input_ids, objective.masking_rate, vocabulary, generator, excluded)
    return Example(ids, labels, positions, row.cu_seqlens)


def causal_labels(ids: Ids, cu_seqlens: NDArray[np.int32]) -> Ids:
    """The next token as the label of each; the last token of a document has none."""
    labels = np.full_like(ids, IGNORED)
    labels[:-1] = ids[1:]
    labels[cu_seqlens[1:] - 1] = IGNORED
    return labels


def mask_tokens(
    ids: Ids, rate: float, vocabulary: Vocabulary, generator: np.random.Generator, excluded: tuple[int, ...] = ()
) -> tuple[Ids, Ids]:
    """(input ids, labels); every token that is not `excluded` is chosen with probability `rate`."""
    chosen = (generator.random(ids.shape) < rate) & ~np.isin(ids, excluded)
    fate = generator.random(ids.shape)
    random_ids = generator.integers(vocabulary.size, size=ids.shape)
    read = np.where(chosen & (fate < MASKED), vocabulary.mask_id, ids)
    read = np.where(chosen & (fate >= 1.0 - RANDOM), random_ids, read)
    return read, np.where(chosen, ids, IGNORED)


def position_ids(cu_seqlens: NDArray[np.int32]) -> Ids:
    """0, 1, 2..., restarting at 0 in every document."""
    starts = cu_seqlens[:-1].astype(np.int64)
    return np.arange(cu_seqlens[-1], dtype=np.int64) - np.repeat(starts, np.diff(cu_seqlens))
