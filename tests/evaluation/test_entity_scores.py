"""Scores of entities compared with seqeval, scikit-learn and an independent count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score as tagged_f1
from seqeval.scheme import IOB2

from detour.config.benchmark import ENTITY_METRICS
from detour.evaluation.entity_scores import by_span, entity_scores, membership
from detour.evaluation.metrics import class_scores
from detour.tasks.document import Entity

LABELS = ("A", "B", "C")
LENGTH = 10


@st.composite
def fragments(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    ends = sorted(draw(st.sets(st.integers(0, LENGTH), min_size=2, max_size=4)))
    return tuple(zip(ends[0 : len(ends) // 2 * 2 : 2], ends[1::2], strict=True))


ANY = st.lists(st.builds(Entity, st.sampled_from(LABELS), fragments()), max_size=6)


@st.composite
def flat(draw: st.DrawFn) -> list[Entity]:
    """A document of one-character words, some of them in entities."""
    ends = sorted(draw(st.sets(st.integers(0, LENGTH), max_size=8)))
    spans = [(start, end) for start, end in pairwise(ends) if draw(st.booleans())]
    return [Entity(draw(st.sampled_from(LABELS)), ((start, end),)) for start, end in spans]


def f1(truth: list[set[object]], decided: list[set[object]]) -> float:
    """Count one entity at a time."""
    counts = Counter[str]()
    for true, found in zip(truth, decided, strict=True):
        for one in true | found:
            counts["both" if one in true and one in found else "one"] += 1
    total = 2 * counts["both"] + counts["one"]
    return 2 * counts["both"] / total if total else 0.0


def only(labels: Sequence[str], entities: list[Entity]) -> list[Entity]:
    return [entity for entity in entities if entity.label in labels]


@given(st.lists(st.tuples(ANY, ANY), max_size=4), st.integers(1, len(LABELS)))
@settings(max_examples=40)
def test_nested_and_discontinuous_entities_agree_with_an_independent_count(
    documents: list[tuple[list[Entity], list[Entity]]], number: int
) -> None:
    """Also for a task with a single label."""
    labels = LABELS[:number]
    truth, decided = [only(labels, one) for one, _ in documents], [only(labels, other) for _, other in documents]
    scores = entity_scores(truth, decided, labels, is_flat=False)
    spans = [[{(e.label, e.start, e.end) for e in each} for each in side] for side in (truth, decided)]
    exact = [[{(e.label, e.fragments) for e in each} for each in side] for side in (truth, decided)]
    assert scores["micro_f1"] == pytest.approx(f1(*spans))  # type: ignore[arg-type]
    assert scores["exact_micro_f1"] == pytest.approx(f1(*exact))  # type: ignore[arg-type]
    there = sorted({e.label for side in (truth, decided) for each in side for e in each})
    by_label = [
        f1(*[[{one for one in each if one[0] == label} for each in side] for side in spans])  # type: ignore[arg-type]
        for label in there
    ]
    assert scores["macro_f1"] == pytest.approx(np.mean(by_label) if there else 0.0)


def tags(entities: list[Entity]) -> list[str]:
    found = ["O"] * LENGTH
    for entity in entities:
        found[entity.start : entity.end] = [
            f"B-{entity.label}",
            *[f"I-{entity.label}"] * (entity.end - entity.start - 1),
        ]
    return found


@given(st.lists(st.tuples(flat(), flat()), min_size=1, max_size=4), st.integers(1, len(LABELS)))
@settings(max_examples=30)
def test_flat_entities_agree_with_seqeval_strict(
    documents: list[tuple[list[Entity], list[Entity]]], number: int
) -> None:
    labels = LABELS[:number]
    truth, decided = [only(labels, one) for one, _ in documents], [only(labels, other) for _, other in documents]
    scores = entity_scores(truth, decided, labels, is_flat=True)
    assert scores["strict_f1"] == pytest.approx(scores["micro_f1"]) == pytest.approx(scores["exact_micro_f1"])
    if any(truth) or any(decided):
        words = [list(map(tags, side)) for side in (truth, decided)]
        assert scores["strict_f1"] == pytest.approx(tagged_f1(*words, mode="strict", scheme=IOB2, zero_division=0))


@pytest.mark.parametrize("label", ["ER-", "-ER", "ER+"])
def test_a_hyphen_at_the_end_of_a_label_makes_it_another_label(label: str) -> None:
    truth, decided = [[Entity(label, ((0, 3),))]], [[Entity("ER", ((0, 3),))]]
    assert entity_scores(truth, decided, ["ER", label], is_flat=True)["strict_f1"] == 0.0


def test_without_any_entity_the_scores_are_0_and_not_undefined() -> None:
    scores = entity_scores([[]], [[]], LABELS, is_flat=True)
    assert set(scores) == {*ENTITY_METRICS, "strict_f1"}
    assert set(scores.values()) == {0.0}


def test_the_table_of_classes_counts_true_and_predicted_documents() -> None:
    truth = [[Entity("A", ((0, 1),)), Entity("A", ((2, 3),)), Entity("B", ((0, 1),))]]
    decided = [[Entity("A", ((0, 1),)), Entity("C", ((5, 6),))]]
    table = class_scores(*membership(truth, decided, LABELS, by_span), LABELS)
    assert table["A"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "true": 2, "decided": 1}
    assert table["B"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "true": 1, "decided": 0}
    assert table["C"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "true": 0, "decided": 1}


def test_the_table_of_a_single_class_has_a_single_row() -> None:
    first, second, third = (Entity("A", ((place, place + 1),)) for place in range(3))
    table = class_scores(*membership([[first, second]], [[first, third]], LABELS[:1], by_span), LABELS[:1])
    assert table == {"A": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "true": 2, "decided": 2}}
