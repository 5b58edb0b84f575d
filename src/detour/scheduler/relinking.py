"""What jobs in the queue must wait for once other jobs replace those they wait for, and making them wait for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detour.errors import SchedulerUnavailable
from detour.ledger.events import JobRelinked
from detour.scheduler.commands import Slurm
from detour.scheduler.dependency import replaced, waited_ids
from detour.scheduler.knowledge import Knowledge
from detour.scheduler.reconciliation import dependency_of
from detour.scheduler.requests import JobRequest
from detour.scheduler.sending import Look
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.states import Standing
from detour.scheduler.tags import Tag

CHECKED_CHANGES = 2
"""Changes per job that are checked in the queue: a client may report a change that it did not make."""
MOST_CHANGES = 4
"""Changes per job that waits for one to be cancelled: as long as the queue shows that, cancelling ends it too."""


@dataclass(slots=True)
class Relinker:
    """Changes the dependencies of the jobs of one submission."""

    slurm: Slurm
    knowledge: Knowledge
    snapshot: Callable[[], Snapshot]
    """Reads the queue again for a job that Slurm did not change."""
    _changes: Counter[str] = field(default_factory=Counter)

    def relink(
        self,
        requests: Sequence[JobRequest],
        sent_now: Collection[str],
        successors: Mapping[str, str | None],
        look: Look,
    ) -> bool:
        """Make every job wait for those that fill the places now, before anything is cancelled or released.

        Found from the dependencies that Slurm shows, so it also works after a kill. Returns whether to look again first
        to see if the queue shows it. Raises SchedulerUnavailable for a job that is not changed although it is pending.
        """
        is_unseen = False
        wanted, waits = {request.unit: request for request in requests}, _waits_by_stage(requests)
        for sent in list(look.filled):
            if sent.job_id is None or sent.owner is not None or not can_be_changed(sent.tag, look.snapshot):
                continue
            request = None
            if all(sent.tasks):  # tasks that have left wait for nothing
                request = wanted.get(sent.tag.unit) or _regrouped(sent, requests, waits)
            dependency = right_dependency(sent, request, sent_now, successors, look)
            if dependency is None:
                continue
            is_lost = _is_lost(sent, successors, look)
            if is_lost and self._changes[sent.job_id] >= MOST_CHANGES:
                raise SchedulerUnavailable(
                    f"job {sent.job_id} still waits for a job that is to be replaced, although scontrol reported "
                    f"{MOST_CHANGES} changes. Nothing was released: run it again"
                )
            result = self.slurm.change_dependency(sent.job_id, dependency)
            if result.returncode == 0:
                self.knowledge.record(JobRelinked(dependency=dependency, tags=[str(sent.tag)]))
                look.filled.add(replace(self.knowledge.sent[sent.tag], tasks=sent.tasks))
                self._changes[sent.job_id] += 1
                is_unseen |= is_lost or self._changes[sent.job_id] < CHECKED_CHANGES
            elif not sent.committed or self._still_waits(sent.tag):
                raise SchedulerUnavailable(
                    f"job {sent.job_id} cannot be made to wait for other jobs: {result.message}. Nothing was released: "
                    "run it again"
                )
        return is_unseen

    def _still_waits(self, tag: Tag) -> bool:
        live = self.snapshot().live(tag)
        return bool(live) and all(record.state.standing is Standing.WAITING for record in live)


def _waits_by_stage(requests: Iterable[JobRequest]) -> dict[str, tuple[str, ...]]:
    return {
        stage: waits
        for request in requests
        for task, waits in zip(request.tasks, request.after_each or (request.after,) * len(request.tasks), strict=True)
        for stage in task
    }


def _regrouped(sent: Sent, requests: Sequence[JobRequest], waits: Mapping[str, tuple[str, ...]]) -> JobRequest | None:
    """A request for the stages of a released job that are requested in another grouping now; None if some are not."""
    if not sent.committed or not waits.keys() >= set(sent.stages):
        return None
    each = tuple(tuple(dict.fromkeys(one for stage in task for one in waits[stage])) for task in sent.tasks)
    after = tuple(dict.fromkeys(one for of_task in each for one in of_task))
    alike = next(request for request in requests if sent.stages[0] in request.stages)
    return replace(
        alike, tasks=sent.tasks, after=after, after_each=each if len(set(each)) > 1 else (), unit=sent.tag.unit
    )


def right_dependency(
    sent: Sent, request: JobRequest | None, sent_now: Collection[str], successors: Mapping[str, str | None], look: Look
) -> str | None:
    """What the job must wait for instead; None if its dependency is right.

    For a released job, only jobs that are going (`successors`) or were just sent (units in `sent_now`) count, unless it
    waits in vain: the others may have ended since the snapshot.
    """
    dependency_now, is_lost = _dependency(sent, look), _is_lost(sent, successors, look)
    if request is None:
        return replaced(dependency_now, successors) if is_lost else None
    right = str(dependency_of(request, sent.tag.segment, look.filled) or "")
    if sent.committed:
        new = {one.job_id for unit in sent_now for one in look.filled.unit(unit)} - {sent.job_id}
        wanted = {job.partition("_")[0] for job in waited_ids(right)}
        in_vain = any(record.waits_in_vain for record in look.snapshot.live(sent.tag))
        return right if is_lost or in_vain or new.intersection(wanted - _waits_for(sent, look)) else None
    return right if waited_ids(right) != waited_ids(dependency_now) else None


def _dependency(sent: Sent, look: Look) -> str:
    """As the queue shows it, or else as it was sent."""
    records = look.snapshot.live(sent.tag)
    return records[0].dependency if records else sent.dependency


def _waits_for(sent: Sent, look: Look) -> set[str]:
    return {job.partition("_")[0] for job in waited_ids(_dependency(sent, look))}


def _is_lost(sent: Sent, successors: Collection[str], look: Look) -> bool:
    """Whether it waits for a job that is going."""
    return not _waits_for(sent, look).isdisjoint(successors)


def can_be_changed(tag: Tag, queue: Snapshot) -> bool:
    """Whether Slurm can change the job: only if it is pending, an array with all tasks. What was just sent is held."""
    return all(record.state.standing is Standing.WAITING for record in queue.live(tag))
