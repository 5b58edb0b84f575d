"""Batches of documents of similar length, to keep padding small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
_POOL_BATCHES = 50


def shuffled_batches(lengths: Sequence[int], batch_sequences: int, seed: tuple[int, ...]) -> list[Indices]:
    """Every document once: random pools of 50 batches, sorted by length and cut, then all batches shuffled.

    A pure function of its arguments, so an interrupted epoch can be resumed in the middle.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(lengths))
    size = np.asarray(lengths)
    pool = _POOL_BATCHES * batch_sequences
    batches: list[Indices] = []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        batches += _cut(members[np.argsort(size[members], kind="stable")], batch_sequences)
    return [batches[index] for index in random.permutation(len(batches))]


def sorted_batches(lengths: Sequence[int], batch_sequences: int) -> list[Indices]:
    """Every document once, in order of length, for prediction."""
    return _cut(np.argsort(np.asarray(lengths), kind="stable"), batch_sequences)


def _cut(order: Indices, batch_sequences: int) -> list[Indices]:
    return [order[start : start + batch_sequences] for start in range(0, len(order), batch_sequences)]


def pad(token_ids: Sequence[Sequence[int]], padding_id: int) -> tuple[Indices, Indices]:
    """Token ids and attention mask, (documents, longest), padded on the right."""
    longest = max(map(len, token_ids))
    padded = np.full((len(token_ids), longest), padding_id, dtype=np.int64)
    mask = np.zeros_like(padded)
    for row, ids in enumerate(token_ids):
        padded[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return padded, mask
