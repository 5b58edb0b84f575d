"""Counts and selections of entities that may be nested, discontinuous or repeated."""

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
    """Pairs of entities on different spans of which one covers the other."""
    outermost: int
    """Entities that remain without those inside others and repeats of a span."""
    repeated: int
    """Entities with the same label and fragments as an earlier one."""


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
    """Count nested pairs, comparing each entity with all that begin inside it; only later ones would not suffice."""
    ordered = sorted(entities, key=lambda one: one.start)
    starts = [one.start for one in ordered]
    return sum(
        one.covers(other) and (one.start, one.end) != (other.start, other.end)
        for one in ordered
        for other in ordered[bisect_left(starts, one.start) : bisect_right(starts, one.end)]
    )


def outermost(entities: Sequence[Entity]) -> list[Entity]:
    """Return the entities that no other covers, in order; of several on one span, the first."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda one: (one.start, -one.end)):
        if not kept or entity.end > kept[-1].end:  # otherwise the last one kept covers it
            kept.append(entity)
    return kept


def without_overlaps(entities: Sequence[Entity]) -> list[Entity]:
    """Return entities for a flat task, ordered by start: of overlapping ones the longest, of equal ones the first."""
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda one: (one.start - one.end, one.start)):
        place = bisect_left(kept, entity.start, key=lambda one: one.start)
        if not any(entity.overlaps(beside) for beside in kept[max(0, place - 1) : place + 1]):
            kept.insert(place, entity)
    return kept
