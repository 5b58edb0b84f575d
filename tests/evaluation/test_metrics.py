from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, classification_report, f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from detour.config.benchmark import CLASS_METRICS
from detour.evaluation.metrics import Matrix, class_scores, decide, scores

LOGITS = np.array([[-2.0, -1.0, -3.0], [1.0, 2.0, -1.0], [0.0, -1.0, -1.0]], dtype=np.float32)


def test_multilabel_predicts_labels_above_the_threshold_or_else_the_most_probable() -> None:
    decided = decide(LOGITS, "multilabel", 0.5)
    assert decided.tolist() == [[False, True, False], [True, True, False], [True, False, False]]


def test_the_threshold_is_a_probability() -> None:
    odds = np.log(np.array([[0.29, 0.31, 0.01]]) / np.array([[0.71, 0.69, 0.99]])).astype(np.float32)
    assert decide(odds, "multilabel", 0.3).tolist() == [[False, True, False]]
    assert decide(odds, "multilabel", 0.28).tolist() == [[True, True, False]]


def test_single_label_predicts_only_the_most_probable_label() -> None:
    assert decide(LOGITS, "single_label", 0.5).tolist() == [
        [False, True, False],
        [False, True, False],
        [True, False, False],
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_single_label_scores_equal_those_computed_from_class_vectors(pairs: list[tuple[int, int]]) -> None:
    truth, decided = zip(*pairs, strict=True)
    identity = np.eye(6, dtype=np.bool_)
    figures = scores(identity[list(truth)], identity[list(decided)], "single_label")
    assert figures["macro_f1"] == pytest.approx(f1_score(truth, decided, average="macro"))
    share = sum(t == d for t, d in pairs) / len(pairs)
    assert figures["accuracy"] == figures["micro_f1"] == pytest.approx(share)


def test_multilabel_scores_equal_those_computed_by_hand() -> None:
    truth = np.array([[1, 1, 0], [0, 1, 0]], dtype=np.bool_)
    decided = np.array([[1, 0, 0], [0, 1, 0]], dtype=np.bool_)
    figures = scores(truth, decided, "multilabel")
    assert set(figures) == set(CLASS_METRICS)
    assert figures["micro_f1"] == pytest.approx(2 * 2 / (2 * 2 + 1))
    assert figures["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)  # the third label occurs nowhere: 0
    assert figures["accuracy"] == 0.5


LABELS = ("a", "b", "c", "d")
DOCUMENTS = st.lists(st.tuples(st.sets(st.sampled_from(LABELS)), st.sets(st.sampled_from(LABELS))), min_size=1)


def matrix(sets: Iterable[set[str]]) -> Matrix:
    return np.array([[label in found for label in LABELS] for found in sets])


@given(DOCUMENTS)
@settings(max_examples=20)
def test_multilabel_scores_equal_those_of_scikit_learn_and_of_a_count(
    documents: list[tuple[set[str], set[str]]],
) -> None:
    """scikit-learn encodes label sets in its own way; the count takes one label at a time."""
    truth, decided = zip(*documents, strict=True)
    encoder = MultiLabelBinarizer(classes=LABELS)
    encoded = encoder.fit_transform(truth), encoder.transform(decided)
    report = classification_report(*encoded, target_names=LABELS, output_dict=True, zero_division=0.0)
    figures = scores(matrix(truth), matrix(decided), "multilabel")
    assert figures["micro_f1"] == pytest.approx(report["micro avg"]["f1-score"])
    assert figures["macro_f1"] == pytest.approx(report["macro avg"]["f1-score"])
    assert figures["accuracy"] == pytest.approx(accuracy_score(*encoded))
    table = class_scores(matrix(truth), matrix(decided), LABELS)
    for label in LABELS:
        both = sum(label in one and label in other for one, other in documents)
        either = sum((label in one) + (label in other) for one, other in documents)
        assert table[label]["f1"] == pytest.approx(2 * both / either if either else 0.0)
        assert table[label]["true"] == report[label]["support"]
