from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detour.evaluation.batches import pad, shuffled_batches, sorted_batches

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=300)


@given(LENGTHS, st.integers(1, 7), st.integers(0, 5))
def test_every_document_is_in_one_batch_and_the_order_depends_on_the_seed_only(
    lengths: list[int], size: int, seed: int
) -> None:
    batches = shuffled_batches(lengths, size, (seed, 0))
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // size)
    assert all(len(batch) <= size for batch in batches)
    again = shuffled_batches(lengths, size, (seed, 0))
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))


@given(LENGTHS, st.integers(1, 7))
def test_prediction_batches_hold_every_document_sorted_by_length(lengths: list[int], size: int) -> None:
    order = np.concatenate(sorted_batches(lengths, size))
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths)


def test_epochs_have_different_orders_and_bucketing_reduces_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1000).tolist()
    first, second = (shuffled_batches(lengths, 8, (1, epoch)) for epoch in (0, 1))
    assert not all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    padded = sum(len(batch) * max(lengths[index] for index in batch) for batch in first)
    assert padded < 1.1 * sum(lengths)


def test_padding_is_masked() -> None:
    ids, mask = pad([[5, 6, 7], [8]], padding_id=9)
    assert ids.tolist() == [[5, 6, 7], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
