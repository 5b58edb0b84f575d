"""Compare predicted entities with the true ones, as sets.

An entity is identified either by its label and the span from its first to its last character, as in the published
French harness, which ignores repeats and fragments; or exactly, by its label and fragments. Flat entities also get
seqeval's strict score.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

import numpy as np
from seqeval.metrics import f1_score as tagged_f1
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score, precision_score, recall_score

from detour.evaluation.metrics import Matrix, indicators
from detour.tasks.document import Entity

Entities = Sequence[Collection[Entity]]
"""The entities of each document."""
Place = Callable[[Entity], Hashable]
"""What identifies an entity within a document, together with its label."""


def by_span(entity: Entity) -> Hashable:
    return entity.start, entity.end


def by_fragments(entity: Entity) -> Hashable:
    return entity.fragments


def membership(truth: Entities, decided: Entities, labels: Sequence[str], place: Place) -> tuple[Matrix, Matrix]:
    """True and predicted labels as two matrices (places of all documents, labels)."""
    rows: dict[Hashable, int] = {}
    cells: list[list[tuple[int, int]]] = [[], []]
    columns = {label: column for column, label in enumerate(labels)}
    for document, both in enumerate(zip(truth, decided, strict=True)):
        for found, entities in zip(cells, both, strict=True):
            for entity in entities:
                row = rows.setdefault((document, place(entity)), len(rows))
                found.append((row, columns[entity.label]))
    matrices = [np.zeros((len(rows), len(labels)), dtype=np.bool_) for _ in cells]
    for matrix, found in zip(matrices, cells, strict=True):
        for row, column in found:
            matrix[row, column] = True
    return matrices[0], matrices[1]


def entity_scores(truth: Entities, decided: Entities, labels: Sequence[str], *, is_flat: bool) -> dict[str, float]:
    """micro_f1, micro_precision, micro_recall and macro_f1 by span; exact_micro_f1 and exact_macro_f1 by fragments; for
    flat entities also seqeval's strict_f1.

    Macro averages skip a label that is neither true nor predicted anywhere. Without any entities, all scores are 0.
    """
    spans, exact = (membership(truth, decided, labels, place) for place in (by_span, by_fragments))
    scores = {
        "micro_f1": _score(f1_score, *spans),
        "micro_precision": _score(precision_score, *spans),
        "micro_recall": _score(recall_score, *spans),
        "macro_f1": _score(f1_score, *spans, "macro", np.nan),
        "exact_micro_f1": _score(f1_score, *exact),
        "exact_macro_f1": _score(f1_score, *exact, "macro", np.nan),
    }
    return scores | ({"strict_f1": strict_f1(truth, decided)} if is_flat else {})


def strict_f1(truth: Entities, decided: Entities) -> float:
    """seqeval's micro F1 over the segments into which the entities' boundaries divide the documents."""
    tagged = [_tagged(*both) for both in zip(truth, decided, strict=True)]
    if not any(truth) and not any(decided):
        return 0.0
    true, found = ([pair[side] for pair in tagged] for side in (0, 1))
    return float(tagged_f1(true, found, mode="strict", scheme=IOB2, zero_division=0))


def _tagged(truth: Collection[Entity], decided: Collection[Entity]) -> tuple[list[str], list[str]]:
    ends = sorted({end for entity in (*truth, *decided) for end in (entity.start, entity.end)})
    places = {end: place for place, end in enumerate(ends)}
    both: list[list[str]] = []
    for entities in (truth, decided):
        tags = ["O"] * max(1, len(ends) - 1)
        for entity in entities:
            first, last = places[entity.start], places[entity.end]
            label = f"[{entity.label}]"  # seqeval strips hyphens from both ends: `ER-` would be `ER`
            tags[first:last] = [f"B-{label}"] + [f"I-{label}"] * (last - first - 1)
        both.append(tags)
    return both[0], both[1]


def _score(
    of: Callable[..., Any], truth: Matrix, decided: Matrix, average: str = "micro", undefined: float = 0.0
) -> float:
    """scikit-learn's score; 0 without any entities."""
    if not len(truth):
        return 0.0
    columns = range(truth.shape[1])
    value = of(indicators(truth), indicators(decided), labels=columns, average=average, zero_division=undefined)
    return float(value)
