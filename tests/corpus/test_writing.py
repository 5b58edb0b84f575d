from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.corpus.buckets import Documents
from detour.corpus.layout import DOCUMENTS, TOKENS
from detour.corpus.writing import validation_share, write_splits
from detour.files import sha256_file


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(2, 30), min_size=1, max_size=10), max_size=8), st.integers(0, 300))
def test_whole_documents_are_set_aside_until_there_are_enough(groups: list[list[int]], wanted: int) -> None:
    lengths = [length for group in groups for length in group]
    tokens = np.arange(sum(lengths), dtype=np.uint16)
    starts = np.cumsum([0, *map(sum, groups)])
    runs = [
        Documents(tokens[start : start + sum(group)], np.array(group))
        for start, group in zip(starts, groups, strict=False)
    ]
    with TemporaryDirectory() as name:
        written = write_splits(Path(name), runs, wanted)
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


def test_every_source_sets_aside_full_rows_by_its_weight() -> None:
    assert validation_share(1_000_000, 0.7, 1024) == 684 * 1024
    assert validation_share(1_000_000, 0.001, 8192) == 8192
    assert validation_share(8192, 1.0, 8192) == 8192
