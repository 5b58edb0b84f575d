"""Which work shares an array, so sbatch calls grow with the number of shapes and not with the amount of work. Pure.

An array whose every task waits for the task of the same number in another array (`aftercorr`) keeps chains apart: if
one fails, the others continue. So work of one shape is laid out in lanes that match, task by task, the lane it waits
for: a lane of promotions for a lane of trainings; one lane per length for decays that share a training. If the numbers
do not match, work that waits for the same stages shares an array, which waits for those stages by their ids.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detour.grouping import grouped

FOLLOWED = 2
"""Upper bound on matching lanes for each array they replace.

Work that follows separate arrays is separate too, as summaries after evaluations, so each counts twice.
"""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one array task."""

    stages: tuple[str, ...]
    """Ids, in the order in which they run."""
    waits: tuple[str, ...]
    """Ids of the stages that must have succeeded; only those that are in lanes themselves."""
    shape: Hashable
    """Work of one shape requests the same resources."""


class _Place(NamedTuple):
    lane: int
    task: int


def lanes(work: Sequence[Work]) -> list[list[Work]]:
    """All work, each item once, each lane after the lanes it waits for.

    `work` must be in an order in which it could run.
    """
    laid: list[list[Work]] = []
    places: dict[str, _Place] = {}
    for alike in _alike(work):
        for lane in _laid_out(alike, laid, places):
            for task, one in enumerate(lane):
                places |= dict.fromkeys(one.stages, _Place(len(laid), task))
            laid.append(lane)
    return laid


def _alike(work: Iterable[Work]) -> list[list[Work]]:
    """Groups of work of one shape and one distance from the start of the chain, nearest first."""
    depth_of: dict[str, int] = {}
    groups: dict[tuple[int, Hashable], list[Work]] = {}
    for one in work:
        depth = max((depth_of[stage] + 1 for stage in one.waits), default=0)
        for stage in one.stages:
            depth_of[stage] = depth
        groups.setdefault((depth, one.shape), []).append(one)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


def _laid_out(alike: Sequence[Work], laid: Sequence[Sequence[Work]], places: dict[str, _Place]) -> list[list[Work]]:
    by_waits = grouped((one.waits, one) for one in alike)
    apart = list(by_waits.values())
    if len(apart) == 1:
        return apart
    beside = _beside(alike, laid, places)
    return beside if beside is not None and len(beside) <= FOLLOWED * len(apart) else apart


def _beside(
    alike: Sequence[Work], laid: Sequence[Sequence[Work]], places: dict[str, _Place]
) -> list[list[Work]] | None:
    """Lanes that match task by task the lanes they wait for, or None if the numbers do not match."""
    found: dict[tuple[int, ...], dict[int, list[Work]]] = {}
    for one in alike:
        at = [places[stage] for stage in one.waits]
        arrays = tuple(sorted({place.lane for place in at if len(laid[place.lane]) > 1}))
        tasks = {place.task for place in at if place.lane in arrays}
        if len(tasks) != 1:
            return None
        found.setdefault(arrays, {}).setdefault(tasks.pop(), []).append(one)
    beside: list[list[Work]] = []
    for arrays, by_task in found.items():
        lengths = {len(laid[lane]) for lane in arrays}
        counts = {len(works) for works in by_task.values()}
        if lengths != {len(by_task)} or len(counts) != 1:
            return None
        beside += [[by_task[task][number] for task in sorted(by_task)] for number in range(counts.pop())]
    return beside
