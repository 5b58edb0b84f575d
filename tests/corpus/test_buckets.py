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
def test_documents_are_ordered_by_hash_for_any_number_of_buckets(
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
        assert documents_of(list(under_test.shuffled())) == found
        under_test.remove()
        assert not list(Path(folder).iterdir())
    assert found == [whole[i].tolist() for i in shuffled(len(lengths), key)]


def test_there_are_as_many_buckets_as_the_text_needs(tmp_path: Path) -> None:
    sizes = [(0, 0), (1 << 20, 0), (16 << 20, 1), (100 << 20, 3), (10**13, buckets.MAX_BUCKET_BITS)]
    for number, (tokens, bits) in enumerate(sizes):
        assert Buckets(tmp_path / str(number), 1, "uint16", tokens).bits == bits


def test_buckets_without_documents_are_empty(tmp_path: Path) -> None:
    assert list(Buckets(tmp_path / "buckets", 1, "uint16", 0).shuffled()) == []


def filled(folder: Path, *, commit_at: int, documents: int) -> Buckets:
    """Documents 0, 1, 2... of one to three tokens, each equal to its document's number; committed after `commit_at`."""
    under_test = Buckets(folder, 7, "uint16", 4 * buckets.BUCKET_BYTES)
    for number in range(under_test.documents, documents):
        length = number % 3 + 1
        under_test.add(Documents(np.full(length, number, dtype=np.uint16), np.array([length])))
        if under_test.documents == commit_at:
            under_test.commit()
    return under_test


def test_data_after_the_last_commit_is_discarded_and_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PENDING_BYTES", 64)
    whole = documents_of(list(filled(tmp_path / "whole", commit_at=0, documents=300).shuffled()))
    filled(tmp_path / "cut", commit_at=100, documents=170)
    again = Buckets(tmp_path / "cut", 7, "uint16", 4 * buckets.BUCKET_BYTES)
    assert (again.documents, again.final) == (100, None)
    again = filled(tmp_path / "cut", commit_at=300, documents=300)
    assert documents_of(list(again.shuffled())) == whole
    again.commit({"blank": 3})
    assert Buckets(tmp_path / "cut", 7, "uint16", 4 * buckets.BUCKET_BYTES).final == {"blank": 3}


@pytest.mark.parametrize("damage", ["shorter", "gone", "flipped", "no commit", "torn commit", "another size"])
def test_a_commit_that_does_not_match_its_files_means_starting_over(tmp_path: Path, damage: str) -> None:
    folder, expected = tmp_path / "buckets", 4 * buckets.BUCKET_BYTES
    filled(folder, commit_at=100, documents=100)
    tokens, commit = max(folder.glob("*.tokens")), folder / buckets.COMMIT
    if damage == "shorter":
        tokens.write_bytes(tokens.read_bytes()[:-2])
    elif damage == "gone":
        tokens.unlink()
    elif damage == "flipped":
        content = tokens.read_bytes()
        tokens.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "no commit":
        commit.unlink()
    elif damage == "torn commit":
        commit.write_bytes(commit.read_bytes()[:50])
    else:
        expected *= 4
    under_test = Buckets(folder, 7, "uint16", expected)
    assert (under_test.documents, under_test.is_committed) == (0, False)
    assert list(folder.iterdir()) == []
