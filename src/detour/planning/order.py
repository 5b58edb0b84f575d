"""What can start now. The local executor has no dependencies of its own, so the waiting command keeps the plan's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar


class Node(Protocol):
    """A stage, or its outline."""

    @property
    def id(self) -> str: ...

    @property
    def inputs(self) -> Mapping[str, str]: ...


AnyNode = TypeVar("AnyNode", bound=Node)


def startable(stages: Sequence[AnyNode], done: Collection[str], busy: Collection[str]) -> list[AnyNode]:
    """Stages whose inputs are all in `done` and that are neither done nor `busy`, in the plan's order."""
    return [
        stage
        for stage in stages
        if stage.id not in done and stage.id not in busy and all(input_id in done for input_id in stage.inputs.values())
    ]


def downstream(stages: Sequence[AnyNode], roots: Collection[str]) -> list[AnyNode]:
    """The stages that need any of `roots`, directly or not, and the roots themselves, in the plan's order."""
    reached = set(roots)
    for stage in stages:
        if reached.intersection(stage.inputs.values()):
            reached.add(stage.id)
    return [stage for stage in stages if stage.id in reached]


def nearest_inputs(stages: Sequence[Node]) -> dict[str, tuple[str, ...]]:
    """Stage id -> those of its inputs that no other input needs too, which is all it must wait for.

    A promotion reads the corpus and the checkpoint; the checkpoint's training has waited for the corpus already.
    """
    ancestors: dict[str, frozenset[str]] = {}
    nearest: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        inputs = tuple(dict.fromkeys(stage.inputs.values()))
        behind = frozenset[str]().union(*(ancestors.get(input_id, frozenset()) for input_id in inputs))
        nearest[stage.id] = tuple(input_id for input_id in inputs if input_id not in behind)
        ancestors[stage.id] = behind.union(inputs)
    return nearest
