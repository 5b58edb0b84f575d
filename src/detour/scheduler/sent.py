"""What the ledger knows of jobs sent to Slurm, folded from its `submit.*` events.

submit.intent    {tags, tasks, dependency[, gate]}  written before sbatch is called
submit.accepted  {tags, job_id}             the job is in the queue, held
submit.relinked  {tags, dependency}         it waits for other jobs now
submit.committed {tags}                     all of them are there: from here on they belong to Slurm, and are released
submit.dropped   {tags, why}                they never came to be, or were withdrawn; nobody wants them any more
submit.kept      {tags, at_s}               somebody holds them on purpose, until
submit.let_go    {tags, at_s}               somebody releases them

The fold does not depend on the order in which the journals of several writers are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from detour.scheduler.tags import Slot, Tag, find_tag

INTENT, ACCEPTED, RELINKED = "submit.intent", "submit.accepted", "submit.relinked"
COMMITTED, DROPPED = "submit.committed", "submit.dropped"
KEPT, LET_GO = "submit.kept", "submit.let_go"


class SubmissionLedger(Protocol):
    """The ledger, as far as submission needs it."""

    def append(self, kind: str, **data: Any) -> None:
        """Record an event. On return it survives a kill and a power cut; raises when it does not."""

    def events(self) -> Iterable[tuple[str, Mapping[str, Any]]]:
        """Kind and data of every `submit.*` event of the workspace so far, by whomever."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One decision to have a job in a slot, and what became of it."""

    tag: Tag
    tasks: tuple[tuple[str, ...], ...] = ()
    dependency: str = ""
    job_id: str | None = None
    committed: bool = False
    dropped: bool = False
    gate: str = ""
    """The file that lets it go on, where it is not held."""
    kept_s: float = 0.0
    let_go_s: float = 0.0
    """When it was last held, and released, by a person: seconds since the epoch."""
    owner: str | None = None
    """Another user, whose job it is by Slurm's word: waited for, and never touched. None: ours, or not in the queue."""

    @property
    def slot(self) -> Slot:
        return self.tag.slot

    @property
    def is_kept(self) -> bool:
        return self.kept_s > self.let_go_s

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(stage for task in self.tasks for stage in task)

    def ids_for(self, stages: Iterable[str]) -> list[str]:
        """What to wait for, for these stages: the job, or the array tasks that hold them."""
        wanted = set(stages)
        holding = [index for index, task in enumerate(self.tasks) if wanted.intersection(task)]
        if self.job_id is None or not holding:
            return []
        if len(holding) == len(self.tasks):
            return [self.job_id]
        return [f"{self.job_id}_{index}" for index in holding]


class Places:
    """Who fills which slot, as the ledger and the queue agree; grows while jobs are sent."""

    def __init__(self, jobs: Iterable[Sent] = ()) -> None:
        self._units: dict[str, dict[int, Sent]] = {}
        self._units_of_stage: dict[str, set[str]] = {}
        for sent in jobs:
            self.add(sent)

    def add(self, sent: Sent) -> None:
        """The slot's job from now on."""
        self._units.setdefault(sent.tag.unit, {})[sent.tag.segment] = sent
        for stage in sent.stages:
            self._units_of_stage.setdefault(stage, set()).add(sent.tag.unit)

    def __iter__(self) -> Iterator[Sent]:
        return (sent for unit in self._units for sent in self.unit(unit))

    def __contains__(self, slot: Slot) -> bool:
        return slot.segment in self._units.get(slot.unit, {})

    def id_at(self, slot: Slot) -> str | None:
        """Of the job in this slot."""
        sent = self._units.get(slot.unit, {}).get(slot.segment)
        return sent.job_id if sent else None

    def unit(self, unit: str) -> list[Sent]:
        """The unit's jobs, by segment."""
        segments = self._units.get(unit, {})
        return [segments[number] for number in sorted(segments)]

    def units_of(self, stages: Iterable[str]) -> list[str]:
        """Units that are at one of these stages."""
        return sorted({unit for stage in stages for unit in self._units_of_stage.get(stage, ())})

    def is_under_way(self, unit: str) -> bool:
        """Given to Slurm for good: it was sent complete, even if some of its segments have ended."""
        return any(sent.committed for sent in self.unit(unit))


def fold(events: Iterable[tuple[str, Mapping[str, Any]]], workspace: str) -> dict[Tag, Sent]:
    """Every job ever sent for this workspace, by its tag."""
    known: dict[Tag, Sent] = {}
    for kind, data in events:
        learn(known, kind, data, workspace)
    return known


def learn(known: dict[Tag, Sent], kind: str, data: Mapping[str, Any], workspace: str) -> None:
    """Take one more event into what is known."""
    for text in data["tags"]:
        tag = find_tag(text)
        if tag is not None and tag.workspace == workspace:
            known[tag] = _advance(known.get(tag, Sent(tag)), kind, data)


def _advance(sent: Sent, kind: str, data: Mapping[str, Any]) -> Sent:
    if kind == INTENT:
        tasks = tuple(tuple(task) for task in data["tasks"])
        return replace(sent, tasks=tasks, dependency=sent.dependency or data["dependency"], gate=data.get("gate", ""))
    if kind == ACCEPTED:
        return replace(sent, job_id=data["job_id"])
    if kind == RELINKED:
        return replace(sent, dependency=data["dependency"])
    if kind == COMMITTED:
        return replace(sent, committed=True)
    if kind == KEPT:
        return replace(sent, kept_s=max(sent.kept_s, data["at_s"]))
    if kind == LET_GO:
        return replace(sent, let_go_s=max(sent.let_go_s, data["at_s"]))
    return replace(sent, dropped=True) if kind == DROPPED else sent
