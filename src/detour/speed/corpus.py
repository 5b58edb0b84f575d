"""A corpus of random tokens with realistic document lengths: speed does not depend on the text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detour.corpus.layout import (
    DOCUMENTS,
    SPLITS,
    TOKENS,
    Index,
    SourceIndex,
    SpecialTokens,
    Split,
    source_folder,
    token_dtype,
    write_index,
)
from detour.flops import MEAN_DOCUMENT_TOKENS

FIRST_WORD = 5
"""First id after the special tokens."""
Documents = tuple[NDArray[np.int64], NDArray[np.int64]]
"""All tokens of a split, and where each document ends."""


def write_random_corpus(
    folder: Path,
    vocabulary: int,
    sequence_length: int,
    train_rows: int,
    mean_document_tokens: float = MEAN_DOCUMENT_TOKENS,
) -> Path:
    """Write documents of exponential lengths, as prices assume them, and two rows for validation."""
    generator = np.random.default_rng(0)
    splits: dict[Split, Documents] = {}
    for split, rows in zip(SPLITS, (train_rows, 2), strict=True):
        tokens = rows * sequence_length
        count = 1 + round(2 * tokens / mean_document_tokens)
        ends = np.cumsum(np.maximum(2, generator.exponential(mean_document_tokens, count)).astype(np.int64))
        ends[-1] = max(ends[-1], tokens)
        ends = ends[: int(np.searchsorted(ends, tokens)) + 1]
        splits[split] = generator.integers(FIRST_WORD, vocabulary, int(ends[-1])), ends
    return write_made_corpus(
        folder, "random", splits, vocabulary, sequence_length, SpecialTokens(pad=0, cls=1, sep=2, mask=3)
    )


def write_made_corpus(
    folder: Path,
    name: str,
    splits: Mapping[Split, Documents],
    vocabulary: int,
    sequence_length: int,
    special_tokens: SpecialTokens,
) -> Path:
    """Write one source called `name` in the layout of a prepared corpus."""
    dtype = token_dtype(vocabulary)
    for split, (tokens, ends) in splits.items():
        place = source_folder(folder, split, name)
        place.mkdir(parents=True)
        tokens.astype(dtype).tofile(place / TOKENS)
        np.save(place / DOCUMENTS, np.concatenate([[0], ends]))
    (train, train_ends), (validation, validation_ends) = (splits[split] for split in SPLITS)
    source = SourceIndex(
        weight=1.0,
        train_tokens=len(train),
        train_documents=len(train_ends),
        validation_tokens=len(validation),
        validation_documents=len(validation_ends),
        blank_documents=0,
        excluded_documents=0,
        sha256={},
    )
    index = Index(
        dtype=dtype,
        vocabulary=vocabulary,
        special_tokens=special_tokens,
        sequence_length=sequence_length,
        shuffle_seed=42,
        sources={name: source},
    )
    write_index(folder, index)
    return folder
