from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.corpus.order import MIX_RESOLUTION, mix_cycle, mix_parts, order_key, scattered, shuffled

PUBLISHED = (0.70, 0.20, 0.04, 0.06)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_in_every_prefix_of_the_mix_each_share_is_exact_to_one_row(parts: list[int]) -> None:
    sources, _ = mix_cycle(parts)
    rows = np.arange(1, len(sources) + 1)
    for source, part in enumerate(parts):
        given_rows = np.cumsum(sources == source)
        deviation = np.abs(given_rows * sum(parts) - rows * part)
        assert deviation.max() < sum(parts)
        assert given_rows[-1] == part


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_ranks_count_the_rows_of_each_source(parts: list[int]) -> None:
    sources, ranks = mix_cycle(parts)
    for source, part in enumerate(parts):
        assert ranks[sources == source].tolist() == list(range(part))


def test_shares_are_the_weights_as_written() -> None:
    assert mix_parts(PUBLISHED) == [35, 10, 2, 3]
    assert mix_parts([1.0]) == [1]
    assert mix_parts([2.0, 2.0]) == [1, 1]
    assert mix_parts([1e-4, 1.0]) == [1, 10_000]


@given(st.lists(st.floats(1e-7, 1e6), min_size=1, max_size=10))
def test_awkward_weights_are_rounded_to_a_bounded_cycle(weights: list[float]) -> None:
    parts = mix_parts(weights)
    assert min(parts) >= 1
    assert sum(parts) <= MIX_RESOLUTION
    exact = [Fraction(str(weight)) / sum(Fraction(str(w)) for w in weights) for weight in weights]
    for part, share in zip(parts, exact, strict=True):
        assert abs(Fraction(part, sum(parts)) - share) <= Fraction(len(weights), MIX_RESOLUTION)


@given(st.integers(0, 500), st.integers(0, 2**64 - 1))
def test_a_shuffle_is_a_permutation(count: int, key: int) -> None:
    assert sorted(shuffled(count, key).tolist()) == list(range(count))


def test_shuffles_are_the_same_on_every_machine_and_version() -> None:
    assert shuffled(8, order_key(42, "icd10", 0)).tolist() == [2, 3, 5, 4, 6, 0, 1, 7]


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_hashes_equal_those_of_integer_arithmetic(index: int, key: int) -> None:
    z = index
    for _ in range(2):
        z = (z + key) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
    assert scattered(np.array([index], dtype=np.uint64), key).tolist() == [z]


@pytest.mark.parametrize("other", [(43, "icd10", 0), (42, "icd11", 0), (42, "icd10", 1), (42, "icd101", 0)])
def test_seed_source_and_epoch_each_change_the_order(other: tuple[int, str, int]) -> None:
    assert order_key(*other) != order_key(42, "icd10", 0)
    assert shuffled(1000, order_key(*other)).tolist() != shuffled(1000, order_key(42, "icd10", 0)).tolist()


def test_a_shuffle_shows_no_trace_of_the_original_order() -> None:
    order = shuffled(20_000, order_key(42, "icd10"))
    # The correlation of two independent orders of n items has standard deviation 1 / sqrt(n) = 0.007.
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.03
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.03
