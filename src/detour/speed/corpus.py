"""A corpus of random tokens with the lengths of real documents: speed does not depend on what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detour.corpus.layout import (
    DOCUMENTS,
    SPLITS,
    TOKENS,
    Index,
    SourceIndex,
    SpecialTokens,
    source_folder,
    write_index,
)
from detour.flops import MEAN_DOCUMENT_TOKENS

FIRST_WORD = 5
"""Smaller ids are special tokens."""


def write_random_corpus(
    folder: Path,
    vocabulary: int,
    sequence_length: int,
    train_rows: int,
    mean_document_tokens: float = MEAN_DOCUMENT_TOKENS,
) -> Path:
    """In the layout of a prepared one, with exponential lengths, as prices assume them; one row for validation."""
    generator = np.random.default_rng(0)
    documents = {}
    for split, rows in zip(SPLITS, (train_rows, 2), strict=True):
        place = source_folder(folder, split, "random")
        place.mkdir(parents=True)
        tokens = rows * sequence_length
        count = 1 + round(2 * tokens / mean_document_tokens)
        ends = np.cumsum(np.maximum(2, generator.exponential(mean_document_tokens, count)).astype(np.int64))
        ends = ends[: int(np.searchsorted(ends, tokens)) + 1]
        words = generator.integers(FIRST_WORD, vocabulary, int(ends[-1]))
        words.astype(np.uint16 if vocabulary <= 2**16 else np.uint32).tofile(place / TOKENS)
        np.save(place / DOCUMENTS, np.concatenate([[0], ends]))
        documents[split] = (int(ends[-1]), len(ends))
    source = SourceIndex(
        weight=1.0,
        train_tokens=documents["train"][0],
        train_documents=documents["train"][1],
        validation_tokens=documents["validation"][0],
        validation_documents=documents["validation"][1],
        blank_documents=0,
        excluded_documents=0,
        sha256={},
    )
    index = Index(
        dtype="uint16" if vocabulary <= 2**16 else "uint32",
        vocabulary=vocabulary,
        special_tokens=SpecialTokens(pad=0, cls=1, sep=2, mask=3),
        sequence_length=sequence_length,
        shuffle_seed=42,
        sources={"random": source},
    )
    write_index(folder, index)
    return folder
