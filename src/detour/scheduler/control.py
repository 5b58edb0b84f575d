"""Stopping, holding and taking over what is in Slurm already: found by tag, whatever the ledger remembers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from detour.errors import SchedulerUnavailable
from detour.ledger.events import JobAccepted, JobEvent, JobIntended, JobsCommitted, JobsDropped, JobsHeld, JobsReleased
from detour.scheduler.commands import CommandResult, Slurm
from detour.scheduler.records import JobRecord
from detour.scheduler.sent import Sent, SubmissionLedger, fold
from detour.scheduler.snapshot import Snapshot, take_snapshot
from detour.scheduler.states import Standing
from detour.scheduler.tags import Tag


@dataclass(frozen=True, slots=True)
class Affected:
    """What an order reached."""

    ids: tuple[str, ...]
    """Job ids, or array tasks as `7_3`."""
    stages: tuple[str, ...]
    theirs: tuple[Sent, ...] = ()
    """Other users' jobs, which were left alone: Slurm lets nobody but them touch these."""


@dataclass(slots=True)
class Control:
    """One use, under the claim that submission takes too."""

    slurm: Slurm
    ledger: SubmissionLedger
    workspace: str
    """As `ledger.identity.workspace_id`."""
    users: Sequence[str]
    """As `Submitter.users`."""
    now_s: Callable[[], float] = time.time

    def cancel(self, stages: Collection[str], why: str, concerned: Collection[str] = ()) -> Affected:
        """Cancel every live job of this user for these stages, last first, so that Slurm starts none of them meanwhile.

        Other users' jobs are named also where they are of further stages, the `concerned`. Raises SchedulerUnavailable
        when the queue cannot be asked; nothing is cancelled or recorded then.
        """
        snapshot = self._snapshot()
        everything = self._live(snapshot, {*stages, *concerned})
        live = [sent for sent in everything if sent.owner is None and set(stages).intersection(sent.stages)]
        ids = _ids(live, stages)
        if ids:
            self.slurm.cancel(ids[::-1])
        whole = [str(sent.tag) for sent in live if set(sent.stages) <= set(stages)]
        if whole:
            self.ledger.append(JobsDropped(tags=whole, why=why))
        return Affected(tuple(ids), _stages(live, stages), _theirs(everything))

    def hold(self, stages: Collection[str]) -> Affected:
        """Keep what has not started from starting, also when the chain is submitted again meanwhile."""
        return self._order(stages, self.slurm.hold, lambda tags: JobsHeld(tags=tags, at_s=self.now_s()))

    def release(self, stages: Collection[str]) -> Affected:
        """Let go what was held."""
        return self._order(stages, self.slurm.release, lambda tags: JobsReleased(tags=tags, at_s=self.now_s()))

    def adopt(self, known_stages: Collection[str]) -> Affected:
        """Record this user's jobs that carry this workspace's tag and that the ledger does not know, as submitted.

        Only jobs of a single stage of `known_stages`: what a lost ledger knew of the tasks of an array is in no tag,
        so an array is adopted by submitting its recipe again, which finds it.
        """
        snapshot = self._snapshot()
        known = fold(self.ledger.events(), self.workspace)
        orphans = {
            record.tag: record
            for record in snapshot.tagged(self.workspace)
            if record.tag not in known
            and record.tag is not None
            and record.tag.unit in known_stages
            and self._owner(record) is None
        }
        for tag, record in orphans.items():
            self.ledger.append(JobIntended(tags=[str(tag)], tasks=[[tag.unit]], dependency=""))
            self.ledger.append(JobAccepted(tags=[str(tag)], job_id=record.ids.id))
        if orphans:
            self.ledger.append(JobsCommitted(tags=[str(tag) for tag in orphans]))
        ids = tuple(record.ids.id for record in orphans.values())
        return Affected(ids, tuple(dict.fromkeys(tag.unit for tag in orphans)))

    def _order(
        self,
        stages: Collection[str],
        give: Callable[[Sequence[str]], CommandResult],
        event_of: Callable[[list[str]], JobEvent],
    ) -> Affected:
        """To all that waits: Slurm shows only one reason for waiting, so who is held already is not to be known."""
        snapshot = self._snapshot()
        waiting = [
            sent
            for sent in self._live(snapshot, stages)
            if any(
                record.ids.id == sent.job_id and record.state.standing is Standing.WAITING
                for record in snapshot.live(sent.tag)
            )
        ]
        live = [sent for sent in waiting if sent.owner is None]
        ids = _ids(live, stages)
        if ids:
            result = give(ids)
            if result.returncode != 0:
                raise SchedulerUnavailable(f"Slurm did not do it for {', '.join(ids)}: {result.message}")
            self.ledger.append(event_of([str(sent.tag) for sent in live]))
        return Affected(tuple(ids), _stages(live, stages), _theirs(waiting))

    def _owner(self, record: JobRecord) -> str | None:
        return None if record.user in ("", self.users[0]) else record.user

    def _snapshot(self) -> Snapshot:
        snapshot = take_snapshot(self.slurm, self.users)
        if snapshot.queue is None:
            raise SchedulerUnavailable(f"{'; '.join(snapshot.missing)}; nothing was changed, ask again later")
        return snapshot

    def _live(self, snapshot: Snapshot, stages: Collection[str]) -> list[Sent]:
        """The jobs of these stages that are in the queue, known to the ledger or found by tag, by ascending id.

        Anybody may write a tag: another user's job with the tag of ours is one more job, and hides nothing.
        """
        known = fold(self.ledger.events(), self.workspace)
        wanted = set(stages)
        found: dict[tuple[Tag, str], Sent] = {}
        for record in snapshot.tagged(self.workspace):
            if record.tag is None or not record.state.is_live:
                continue
            sent = known.get(record.tag) or Sent(record.tag, tasks=((record.tag.unit,),))
            if wanted.intersection(sent.stages):
                found[record.tag, record.ids.id] = replace(sent, job_id=record.ids.id, owner=self._owner(record))
        return sorted(found.values(), key=lambda sent: int(sent.job_id or 0))


def _ids(live: Iterable[Sent], stages: Collection[str]) -> list[str]:
    return [job_id for sent in live for job_id in sent.ids_for(stages)]


def _theirs(live: Iterable[Sent]) -> tuple[Sent, ...]:
    return tuple(sent for sent in live if sent.owner is not None)


def _stages(live: Iterable[Sent], stages: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(stage for sent in live for stage in sent.stages if stage in stages))
