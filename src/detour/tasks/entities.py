"""Counts over entities that may be nested, discontinuous or there twice."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detour.tasks.document import Document, Entity


@dataclass(frozen=True, slots=True)
class EntityCounts:
    entities: int
    discontinuous: int
    nested_pairs: int
    """Pairs of entities on different spans, one of which covers the other."""
    outermost: int
    """Entities left where those inside others, and repeats of a span, are dropped."""
    repeated: int
    """Entities with the label and fragments of one before them."""


def count_entities(documents: Iterable[Document]) -> EntityCounts:
    entities = discontinuous = nested = outer = repeated = 0
    for document in documents:
        found = document.entities
        entities += len(found)
        discontinuous += sum(entity.is_discontinuous for entity in found)
        nested += nested_pairs(found)
        outer += len(outermost(found))
        repeated += len(found) - len({(entity.label, entity.fragments) for entity in found})
    return EntityCounts(entities, discontinuous, nested, outer, repeated)


def nested_pairs(entities: Sequence[Entity]) -> int:
    """Each entity is held against all that begin inside it: comparing with later ones alone misses pairs."""
    ordered = sorted(entities, key=lambda one: one.start)
    starts = [one.start for one in ordered]
    return sum(
        one.covers(other) and (one.start, one.end) != (other.start, other.end)
        for one in ordered
        for other in ordered[bisect_left(starts, one.start) : bisect_right(starts, one.end)]
    )


def outermost(entities: Sequence[Entity]) -> list[Entity]:
    """Those that no other one covers, in order; of several on one span the first."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda one: (one.start, -one.end)):
        if not kept or entity.end > kept[-1].end:  # all that begin before it end before the last one kept, or with it
            kept.append(entity)
    return kept


def without_overlaps(entities: Sequence[Entity]) -> list[Entity]:
    """For a flat task: the longest of those that overlap, in order of their start; of equal ones the first."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda one: (one.start - one.end, one.start)):
        place = bisect_left(kept, entity.start, key=lambda one: one.start)
        if not any(entity.overlaps(beside) for beside in kept[max(0, place - 1) : place + 1]):
            kept.insert(place, entity)
    return kept
