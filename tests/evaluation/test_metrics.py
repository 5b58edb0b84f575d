from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from detour.evaluation.metrics import decide, scores

LOGITS = np.array([[-2.0, -1.0, -3.0], [1.0, 2.0, -1.0], [0.0, -1.0, -1.0]], dtype=np.float32)


def test_multilabel_gives_every_label_from_the_threshold_and_the_top_one_where_none_passes() -> None:
    decided = decide(LOGITS, "multilabel", 0.5)
    assert decided.tolist() == [[False, True, False], [True, True, False], [True, False, False]]


def test_the_threshold_is_a_probability() -> None:
    odds = np.log(np.array([[0.29, 0.31, 0.01]]) / np.array([[0.71, 0.69, 0.99]])).astype(np.float32)
    assert decide(odds, "multilabel", 0.3).tolist() == [[False, True, False]]
    assert decide(odds, "multilabel", 0.28).tolist() == [[True, True, False]]


def test_single_label_gives_the_top_one_only() -> None:
    assert decide(LOGITS, "single_label", 0.5).tolist() == [
        [False, True, False],
        [False, True, False],
        [True, False, False],
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_single_label_scores_are_those_of_class_vectors(pairs: list[tuple[int, int]]) -> None:
    truth, decided = zip(*pairs, strict=True)
    identity = np.eye(6, dtype=np.bool_)
    figures = scores(identity[list(truth)], identity[list(decided)], "single_label")
    assert figures["macro_f1"] == pytest.approx(f1_score(truth, decided, average="macro"))
    share = sum(t == d for t, d in pairs) / len(pairs)
    assert figures["accuracy"] == figures["micro_f1"] == pytest.approx(share)


def test_multilabel_scores_by_hand() -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0]], dtype=np.bool_)
    decided = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.bool_)
    figures = scores(truth, decided, "multilabel")
    assert figures["micro_f1"] == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert figures["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)  # the third label occurs nowhere: 0
    assert figures["accuracy"] == 0.5
