from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.corpus import buckets
from detour.corpus.buckets import Buckets, Documents
from detour.corpus.order import shuffled


def documents_of(runs: list[Documents]) -> list[list[int]]:
    found = []
    for run in runs:
        assert run.tokens.size == run.lengths.sum()
        found += [part.tolist() for part in np.split(run.tokens, np.cumsum(run.lengths)[:-1])]
    return found


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=20), min_size=1, max_size=10),
    st.sampled_from([0, 1, 3, 5]),
    st.integers(0, 2**64 - 1),
    st.sampled_from([1, 200, 1 << 20]),
)
def test_the_order_is_that_of_the_hashes_whatever_the_grouping(
    groups: list[list[int]], bits: int, key: int, pending_bytes: int
) -> None:
    lengths = [length for group in groups for length in group]
    whole = np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "PENDING_BYTES", pending_bytes)
        patch.setattr(buckets, "RUN_DOCUMENTS", 7)
        under_test = Buckets(Path(folder) / "buckets", key, "uint16", 0)
        under_test.bits = bits
        start = 0
        for group in groups:
            stop = start + sum(group)
            under_test.add(Documents(np.arange(start, stop, dtype=np.uint16), np.array(group)))
            start = stop
        found = documents_of(list(under_test.shuffled()))
        assert list((Path(folder) / "buckets").iterdir()) == []
    assert found == [whole[i].tolist() for i in shuffled(len(lengths), key)]


def test_buckets_are_as_many_as_the_text_needs(tmp_path: Path) -> None:
    sizes = [(0, 0), (1 << 20, 0), (16 << 20, 1), (100 << 20, 3), (10**13, buckets.MAX_BUCKET_BITS)]
    for number, (tokens, bits) in enumerate(sizes):
        assert Buckets(tmp_path / str(number), 1, "uint16", tokens).bits == bits


def test_no_document_at_all(tmp_path: Path) -> None:
    assert list(Buckets(tmp_path / "buckets", 1, "uint16", 0).shuffled()) == []
