"""What the ledger knows about jobs sent to Slurm, folded from its job events (`detour.ledger.events.JobEvent`).

An intent is written before sbatch is called; then the job is accepted, perhaps relinked, and committed with all others
of its submission, or dropped. The fold does not depend on the order in which the journals of several writers are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from detour.ledger.events import (
    JobAccepted,
    JobEvent,
    JobIntended,
    JobRelinked,
    JobsCommitted,
    JobsDropped,
    JobsHeld,
    JobsReleased,
)
from detour.ledger.stages import may_be_on
from detour.scheduler.tags import Slot, Tag, find_tag

_JOB_ID = re.compile(r"[0-9]{1,18}")
"""Anything else in a journal is not an id and names no job."""


class SubmissionLedger(Protocol):
    """The part of the ledger that submission needs."""

    def append(self, event: JobEvent) -> None:
        """Record an event, so that it survives a kill and a power failure. Raises if it cannot."""

    def events(self) -> Iterable[JobEvent]:
        """Every event of the workspace so far, by any writer."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One decision to have a job in a slot, and its outcome."""

    tag: Tag
    tasks: tuple[tuple[str, ...], ...] = ()
    """Stages by array task; empty for a task that has left the queue while others of its array are there."""
    dependency: str = ""
    job_id: str | None = None
    is_corrected: bool = False
    """Whether the queue showed a different id from the one sbatch printed, as with a site's wrapper."""
    committed: bool = False
    dropped: bool = False
    gate: str = ""
    """The file that lets it start its work, if it was not sent held."""
    wall_s: int | None = None
    """The time limit it was sent with; None if not recorded."""
    slurm_cluster: str | None = None
    """As in `JobIntended`."""
    held_s: float = 0.0
    released_s: float = 0.0
    """When a person last held and last released it, in seconds since the epoch."""
    owner: str | None = None
    """The other user who owns the job in the queue: awaited, never changed. None if it is ours or not in the queue."""

    @property
    def slot(self) -> Slot:
        return self.tag.slot

    @property
    def is_held(self) -> bool:
        return self.held_s > self.released_s

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(stage for task in self.tasks for stage in task)

    @property
    def jobs_by_stage(self) -> tuple[tuple[str, str], ...]:
        """Stages with their job: in an array, the task's. Empty without an id."""
        suffixes = [f"_{index}" if len(self.tasks) > 1 else "" for index in range(len(self.tasks))]
        in_tasks = zip(self.tasks, suffixes, strict=True) if self.job_id else ()
        return tuple((stage, f"{self.job_id}{suffix}") for task, suffix in in_tasks for stage in task)

    def may_be_on(self, cluster: str | None) -> bool:
        """See `detour.ledger.stages.may_be_on`."""
        return may_be_on(cluster, self.slurm_cluster)

    def ids_for(self, stages: Iterable[str]) -> list[str]:
        """Job ids to wait for, for these stages: the job's or those of the array tasks that hold them."""
        wanted = set(stages)
        holding = [index for index, task in enumerate(self.tasks) if wanted.intersection(task)]
        if self.job_id is None or not holding:
            return []
        if len(holding) == len(self.tasks):
            return [self.job_id]
        return [f"{self.job_id}_{index}" for index in holding]


class Places:
    """Which job fills each slot, by ledger and queue; grows while jobs are sent."""

    def __init__(self, jobs: Iterable[Sent] = ()) -> None:
        self._units: dict[str, dict[int, Sent]] = {}
        self._units_of_stage: dict[str, set[str]] = {}
        for sent in jobs:
            self.add(sent)

    def add(self, sent: Sent) -> None:
        """Make this the slot's job from now on."""
        self._units.setdefault(sent.tag.unit, {})[sent.tag.segment] = sent
        for stage in sent.stages:
            self._units_of_stage.setdefault(stage, set()).add(sent.tag.unit)

    def __iter__(self) -> Iterator[Sent]:
        return (sent for unit in self._units for sent in self.unit(unit))

    def __contains__(self, slot: Slot) -> bool:
        return slot.segment in self._units.get(slot.unit, {})

    def at(self, slot: Slot) -> Sent | None:
        return self._units.get(slot.unit, {}).get(slot.segment)

    def unit(self, unit: str) -> list[Sent]:
        """The unit's jobs, by segment."""
        segments = self._units.get(unit, {})
        return [segments[number] for number in sorted(segments)]

    def units_of(self, stages: Iterable[str]) -> list[str]:
        """Units that have one of these stages."""
        return sorted({unit for stage in stages for unit in self._units_of_stage.get(stage, ())})


def fold(events: Iterable[JobEvent], workspace: str) -> dict[Tag, Sent]:
    """Every job ever sent for this workspace, by its tag."""
    known: dict[Tag, Sent] = {}
    for event in events:
        learn(known, event, workspace)
    return known


def held_stages(events: Iterable[JobEvent]) -> frozenset[str]:
    """Stages that a person held last, and neither released nor cancelled since, with or without a job."""
    last: dict[str, tuple[float, bool]] = {}
    for event in events:
        if isinstance(event, JobsHeld | JobsReleased):
            order = event.at_s, isinstance(event, JobsHeld)
            last |= {stage: max(order, last.get(stage, order)) for stage in event.stages or ()}
    return frozenset(stage for stage, (_, is_held) in last.items() if is_held)


def learn(known: dict[Tag, Sent], event: JobEvent, workspace: str) -> None:
    """Add one event to what is known."""
    for text in event.tags:
        tag = find_tag(text)
        if tag is not None and tag.workspace == workspace:
            known[tag] = _advance(known.get(tag, Sent(tag)), event)


def _advance(sent: Sent, event: JobEvent) -> Sent:
    match event:
        case JobIntended():
            return replace(
                sent,
                tasks=tuple(tuple(task) for task in event.tasks),
                dependency=sent.dependency or event.dependency,
                gate=event.gate,
                wall_s=event.wall_s,
                slurm_cluster=event.slurm_cluster,
            )
        case JobAccepted() if _JOB_ID.fullmatch(event.job_id):
            is_other = sent.job_id not in (None, event.job_id)
            return replace(sent, job_id=event.job_id, is_corrected=sent.is_corrected or is_other)
        case JobRelinked():
            return replace(sent, dependency=event.dependency)
        case JobsCommitted():
            return replace(sent, committed=True)
        case JobsDropped():
            return replace(sent, dropped=True)
        case JobsHeld():
            return replace(sent, held_s=max(sent.held_s, event.at_s))
        case JobsReleased():
            return replace(sent, released_s=max(sent.released_s, event.at_s))
    return sent
