"""What a crashed controller may have forgotten: it restores a state that is some seconds old.

Jobs that were released, are running or have run are held again or gone, and their ids are given out again. Nodes still
know them: a node that is to run an id again refuses ("Duplicate jobid"), is drained, and Slurm holds the job. No record
proves that a job ran; but if it waits for another job's success, it did not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from detour.grouping import grouped
from detour.scheduler.dependency import is_blocked
from detour.scheduler.records import JobRecord
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.states import Standing
from detour.scheduler.tags import Tag

AS_SENT = "JobHeldUser"
"""Reason of a job that has been held since it was sent, or by its own user."""
NEEDS_SUCCESS = frozenset({"afterok", "aftercorr"})


def may_have_run(
    current: Sequence[Sent], seen: Mapping[Tag, list[JobRecord]], is_done: Callable[[str], bool]
) -> list[Sent]:
    """Jobs of unfinished units that are committed, pending and held as sent, unless a dependency proves that none ran.

    Jobs that another user's jobs wait for are left out, since only that user can change those.
    """
    awaited = awaited_by_others(current, seen)
    by_id = by_job_id(current)
    units = grouped((sent.tag.unit, sent) for sent in current if sent.committed)

    def waits(sent: Sent) -> bool:
        waiting = all(record.state.standing is Standing.WAITING for record in seen[sent.tag])
        return waiting and sent.owner is None and not sent.is_held and sent.job_id not in awaited

    def is_suspect(sent: Sent) -> bool:
        as_sent = any(record.reason == AS_SENT and not record.by_slurm for record in seen[sent.tag])
        return as_sent and not any(_never_ran(record.dependency, by_id, is_done) for record in seen[sent.tag])

    return [
        sent
        for jobs in units.values()
        if all(map(waits, jobs)) and any(map(is_suspect, jobs)) and not all(map(is_done, jobs[0].stages))
        for sent in jobs
    ]


def awaited_by_others(current: Sequence[Sent], seen: Mapping[Tag, list[JobRecord]]) -> set[str]:
    """Ids of the jobs that other users' jobs wait for."""
    theirs = [record for sent in current if sent.owner is not None for record in seen[sent.tag]]
    return {job.partition("_")[0] for record in theirs for job in record.waits_for}


def is_spent(
    job_id: str, by_id: Mapping[str, Sequence[Sent]], snapshot: Snapshot, is_done: Callable[[str], bool]
) -> bool:
    """Whether an id that Slurm has just given to a new job belonged to another one that may have run.

    A crashed controller gives forgotten ids out again. It kills the other job only once that job's node reports; until
    then the node would refuse the new job, and be drained.
    """
    if any(record.ids.id == job_id for record in snapshot.queue or ()):
        return False  # a wrapper printed the number of a job that is there
    others = [sent for sent in by_id.get(job_id, ()) if sent.committed or sent.gate]
    return not all(_never_ran(sent.dependency, by_id, is_done) for sent in others)


def spent_by_tasks(job_id: str, by_id: Mapping[str, Sequence[Sent]], is_done: Callable[[str], bool]) -> range:
    """Ids that tasks of lost arrays may have, once `job_id` is known to be spent.

    Each task gets an id of its own when it starts, after all ids given out by then.
    """
    lost = [
        (int(other), sent)
        for other, jobs in by_id.items()
        if int(other) >= int(job_id)
        for sent in jobs
        if sent.committed or sent.gate
    ]
    arrays = [sent for _, sent in lost if len(sent.tasks) > 1 and not _never_ran(sent.dependency, by_id, is_done)]
    first = max((number for number, _ in lost), default=0) + 1
    return range(first, first + sum(len(sent.tasks) for sent in arrays))


def by_job_id(jobs: Iterable[Sent]) -> Mapping[str, list[Sent]]:
    return grouped((sent.job_id, sent) for sent in jobs if sent.job_id is not None)


def _never_ran(dependency: str, by_id: Mapping[str, Sequence[Sent]], is_done: Callable[[str], bool]) -> bool:
    """Whether the dependency waits for the success of a job that has not succeeded."""

    def blocks(term: str) -> bool:
        kind, _, job = term.partition(":")
        stages = [stage for sent in by_id.get(job.partition("_")[0], ()) for stage in sent.stages]
        return kind in NEEDS_SUCCESS and bool(stages) and not any(map(is_done, stages))

    return is_blocked(dependency, blocks)
