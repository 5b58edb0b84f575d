from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.corpus import repeats
from detour.corpus.buckets import Documents
from detour.corpus.repeats import Outline, outline, repeated, seen

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3), max_size=30)


def outlined(*groups: list[list[int]]) -> Outline:
    with TemporaryDirectory() as folder:
        found = outline(map(documents, groups), Path(folder))
        return Outline(np.array(found.digests), np.array(found.lengths))


def documents(texts: list[list[int]]) -> Documents:
    tokens = np.array([token for text in texts for token in text], dtype=np.uint16)
    return Documents(tokens, np.array(list(map(len, texts)), dtype=np.int64))


@given(TEXTS, TEXTS)
def test_a_repeat_is_a_document_seen_earlier_in_this_or_a_previous_source(
    first: list[list[int]], second: list[list[int]]
) -> None:
    before, own = outlined(first).digests, outlined(second).digests
    expected = [text in first or text in second[:place] for place, text in enumerate(second)]
    assert repeated(own, [before]).tolist() == expected


def test_comparing_digests_in_parts_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = np.random.default_rng(0).integers(0, 1 << 64, 1000, dtype=np.uint64)
    twice = np.concatenate([digests, digests[:300]])
    expected = repeated(twice, [digests[500:]])
    monkeypatch.setattr(repeats, "PART_DOCUMENTS", 37)
    assert np.array_equal(repeated(twice, [digests[500:]]), expected)
    assert int(expected.sum()) == 500 + 300
    assert seen(digests, [digests[:150], twice[1250:]]) == 150 + 50


@given(TEXTS, st.integers(0, 30))
def test_the_result_does_not_depend_on_how_documents_are_batched(texts: list[list[int]], cut: int) -> None:
    whole, parts = outlined(texts), outlined(texts[:cut], texts[cut:])
    assert np.array_equal(whole.digests, parts.digests)
    assert whole.lengths.tolist() == parts.lengths.tolist() == list(map(len, texts))
