from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.corpus.buckets import Documents
from detour.corpus.layout import DOCUMENTS, TOKENS
from detour.corpus.writing import set_aside, validation_share, write_splits
from detour.files import sha256_file


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(2, 30), min_size=1, max_size=10), max_size=8),
    st.integers(0, 300).filter(lambda wanted: wanted == 0 or wanted >= 30),
)
def test_whole_documents_are_set_aside_until_there_are_enough(groups: list[list[int]], wanted: int) -> None:
    lengths = [length for group in groups for length in group]
    tokens = np.arange(sum(lengths), dtype=np.uint16)
    starts = np.cumsum([0, *map(sum, groups)])
    runs = [
        Documents(tokens[start : start + sum(group)], np.array(group))
        for start, group in zip(starts, groups, strict=False)
    ]
    with TemporaryDirectory() as name:
        written = write_splits(Path(name), runs, set_aside(np.array(lengths, dtype=np.int64), wanted))
        validation, train = (
            np.fromfile(Path(name) / split / TOKENS, dtype=np.uint16) for split in ("validation", "train")
        )
        offsets = {split: np.load(Path(name) / split / DOCUMENTS) for split in written}
        for split, entry in written.items():
            for file, digest in entry.sha256.items():
                assert sha256_file(Path(name) / split / file) == digest
    assert np.array_equal(np.concatenate([validation, train]), tokens)
    aside = np.diff(offsets["validation"]).tolist()
    assert aside + np.diff(offsets["train"]).tolist() == lengths
    assert written["validation"].documents == len(aside)
    assert written["validation"].tokens == sum(aside) == len(validation)
    assert sum(aside[:-1]) < max(wanted, 1)
    assert sum(aside) >= wanted or len(aside) == len(lengths)


def set_aside_of(lengths: list[int], wanted: int) -> list[int]:
    return list(map(int, np.flatnonzero(set_aside(np.array(lengths), wanted))))


def test_a_long_document_is_left_to_training() -> None:
    assert set_aside_of([4000, 40, 40, 40], 64) == [1, 2]


def test_if_short_documents_do_not_suffice_the_shortest_long_one_is_taken() -> None:
    assert set_aside_of([4000, 20, 90, 300], 64) == [1, 2]
    assert set_aside_of([4000, 700], 64) == [1]
    assert set_aside_of([20, 30], 64) == [0, 1]


def test_dropped_documents_are_in_neither_split(tmp_path: Path) -> None:
    run = Documents(np.arange(12, dtype=np.uint16), np.array([3, 4, 5]))
    aside, kept = np.array([True, False, False]), np.array([True, False, True])
    written = write_splits(tmp_path, [run], aside, kept)
    assert {split: entry.documents for split, entry in written.items()} == {"train": 1, "validation": 1}
    assert np.fromfile(tmp_path / "train" / TOKENS, dtype=np.uint16).tolist() == [7, 8, 9, 10, 11]


def test_every_source_sets_aside_full_rows_by_its_weight() -> None:
    assert validation_share(1_000_000, 0.7, 1024) == 684 * 1024
    assert validation_share(1_000_000, 0.001, 8192) == 8192
    assert validation_share(8192, 1.0, 8192) == 8192
