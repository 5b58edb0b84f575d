"""Documents of a task, with their labels or entities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
Fragment = tuple[int, int]
"""Start and end (exclusive), in characters of the document's text."""


@dataclass(frozen=True, slots=True)
class Entity:
    label: str
    fragments: tuple[Fragment, ...]
    """Fragments in order, without overlap; several if the entity is discontinuous."""
    codes: tuple[str, ...] = ()
    """Codes of its notes, such as `C0661608` or `8500/3`."""

    @property
    def start(self) -> int:
        return self.fragments[0][0]

    @property
    def end(self) -> int:
        return self.fragments[-1][1]

    @property
    def is_discontinuous(self) -> bool:
        return len(self.fragments) > 1

    def covers(self, other: Entity) -> bool:
        """Whether the other entity lies inside this one, or on the same span."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: Entity) -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Document:
    text: str
    labels: frozenset[str] = frozenset()
    split: str | None = None
    """The split given by the data, if any."""
    entities: tuple[Entity, ...] = ()
    """Entities of a task of type `ner`, in the order of the file, including repeats."""
    name: str = ""
    """Name in its data set, if it has one; stored with the predictions."""
    path: Path | None = None
    """The file that it was read from."""

    @property
    def names(self) -> frozenset[str]:
        """Labels of the document and of its entities."""
        return self.labels | {entity.label for entity in self.entities}
