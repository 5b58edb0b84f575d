from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detour.evaluation.ner_decoding import Logits, flat_spans, nested_spans, tag_of

LOGITS = st.floats(-4, 4, width=32)


def is_legal(tags: tuple[int, ...]) -> bool:
    """Whether every continuing word follows a word of its entity."""
    return all(tag == 0 or tag % 2 or before in (tag - 1, tag) for before, tag in zip((0, *tags), tags, strict=False))


@given(st.integers(1, 4).flatmap(lambda words: arrays(np.float32, (words, 5), elements=LOGITS)))
def test_flat_spans_come_from_the_best_legal_tag_sequence(logits: Logits) -> None:
    words, count = logits.shape
    scores = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    legal = [tags for tags in product(range(count), repeat=words) if is_legal(tags)]
    best = max(sum(scores[word, tag] for word, tag in enumerate(tags)) for tags in legal)
    spans = flat_spans(logits)
    tags = [0] * words
    for first, last, label, probability in spans:
        assert tags[first : last + 1] == [0] * (last - first + 1), "no two overlap"
        tags[first : last + 1] = [tag_of(label, is_first=True), *[tag_of(label, is_first=False)] * (last - first)]
        assert 0 < probability <= 1
    assert sum(scores[word, tag] for word, tag in enumerate(tags)) == pytest.approx(best, abs=1e-4)


def test_nested_spans_are_all_those_inside_the_window_that_reach_the_threshold() -> None:
    logits = np.full((3, 2, 2), -9.0, dtype=np.float32)
    logits[0, 1, 0] = logits[0, 0, 1] = logits[1, 0, 0] = 0.0
    logits[2, 1, 0] = 9.0  # would end after the window
    assert nested_spans(logits, 0.5) == [(0, 0, 1, 0.5), (0, 1, 0, 0.5), (1, 1, 0, 0.5)]
    assert nested_spans(logits, 0.6) == []
