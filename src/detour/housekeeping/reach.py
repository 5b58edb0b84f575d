"""What is needed: everything a wanted stage is made of, however far back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable


def needed(wanted: Iterable[str], inputs_of: Callable[[str], Collection[str]]) -> set[str]:
    """Ids of the wanted stages and of all stages whose output they read, directly or not."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        stage = waiting.pop()
        if stage not in found:
            found.add(stage)
            waiting += inputs_of(stage)
    return found
