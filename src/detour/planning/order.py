"""Which stages can start, and which depend on which.

The local executor has no dependencies, so the command that runs it applies the plan's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar


class Node(Protocol):
    """A stage, or its outline."""

    @property
    def id(self) -> str: ...

    @property
    def inputs(self) -> Mapping[str, str]: ...


AnyNode = TypeVar("AnyNode", bound=Node)


def startable(stages: Sequence[AnyNode], done: Collection[str], busy: Collection[str]) -> list[AnyNode]:
    """Return the stages whose inputs are all in `done` and that are neither done nor `busy`, in the plan's order."""
    return [
        stage
        for stage in stages
        if stage.id not in done and stage.id not in busy and all(input_id in done for input_id in stage.inputs.values())
    ]


def downstream(stages: Sequence[AnyNode], roots: Collection[str]) -> list[AnyNode]:
    """Return `roots` and all stages that depend on them, directly or indirectly, in the plan's order."""
    reached = set(roots)
    for stage in stages:
        if reached.intersection(stage.inputs.values()):
            reached.add(stage.id)
    return [stage for stage in stages if stage.id in reached]


def upstream(roots: Iterable[str], inputs_of: Callable[[str], Iterable[str]]) -> set[str]:
    """Return the ids of `roots` and of all stages that they depend on, directly or indirectly."""
    reached: set[str] = set()
    waiting = list(roots)
    while waiting:
        stage = waiting.pop()
        if stage not in reached:
            reached.add(stage)
            waiting += inputs_of(stage)
    return reached


def nearest_inputs(stages: Sequence[Node]) -> dict[str, tuple[str, ...]]:
    """Return stage id -> the inputs that no other input depends on, which are all it must wait for.

    A promotion reads the corpus and the checkpoint, but the checkpoint's training has already waited for the corpus.
    """
    ancestors: dict[str, frozenset[str]] = {}
    nearest: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        inputs = tuple(dict.fromkeys(stage.inputs.values()))
        behind = frozenset[str]().union(*(ancestors.get(input_id, frozenset()) for input_id in inputs))
        nearest[stage.id] = tuple(input_id for input_id in inputs if input_id not in behind)
        ancestors[stage.id] = behind.union(inputs)
    return nearest
