"""What a job in the queue must wait for once other jobs replace those it waits for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from detour.scheduler.dependency import replaced, waited_ids
from detour.scheduler.reconciliation import dependency_of
from detour.scheduler.requests import JobRequest
from detour.scheduler.sending import Look
from detour.scheduler.sent import Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.states import Standing
from detour.scheduler.tags import Tag


def right_dependency(
    sent: Sent, request: JobRequest | None, sent_now: Collection[str], successors: Mapping[str, str | None], look: Look
) -> str | None:
    """What the job must wait for instead; None if its dependency is right.

    For a released job, only jobs that are going (`successors`) or were just sent (units in `sent_now`) count: the
    others may have ended since the snapshot.
    """
    records = look.snapshot.live(sent.tag)
    dependency_now = records[0].dependency if records else sent.dependency
    waits = {job.partition("_")[0] for job in waited_ids(dependency_now)}
    is_lost = bool(waits.intersection(successors))
    if request is None:
        return replaced(dependency_now, successors) if is_lost else None
    right = str(dependency_of(request, sent.tag.segment, look.filled) or "")
    if sent.committed:
        new = {one.job_id for unit in sent_now for one in look.filled.unit(unit)} - {sent.job_id}
        wanted = {job.partition("_")[0] for job in waited_ids(right)}
        return right if is_lost or new.intersection(wanted - waits) else None
    return right if waited_ids(right) != waited_ids(dependency_now) else None


def can_be_changed(tag: Tag, queue: Snapshot) -> bool:
    """Whether Slurm can change the job: only if it is pending, an array with all tasks. What was just sent is held."""
    return all(record.state.standing is Standing.WAITING for record in queue.live(tag))
