"""One reading of the scheduler: at most one squeue and one sacct answer all questions.

What Slurm does not report stays unknown. A missing, empty or broken answer never makes a job failed or gone. An id
alone proves nothing: a job is identified only by its tag (ids are recycled, and a crashed controller can give the same
id out twice).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from detour.grouping import grouped
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.job_ids import parse_job_ids
from detour.scheduler.records import JobRecord, Unreadable, read_accounting, read_queue
from detour.scheduler.states import JobState
from detour.scheduler.tags import Tag

NO_ACCOUNTING = "accounting storage is disabled"
QUEUE_UNKNOWN = "queued and running jobs are unknown"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What squeue and sacct reported at one time; either is None if it was not asked or gave no usable answer."""

    taken_s: float
    queue: tuple[JobRecord, ...] | None
    accounting: tuple[JobRecord, ...] | None
    missing: tuple[str, ...] = ()
    """What could not be read, and why, as sentences for people."""
    _index: _Index = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", _Index(self.queue or (), self.accounting or ()))

    def live(self, tag: Tag) -> list[JobRecord]:
        """The job's lines in the queue; also empty if the queue is unknown."""
        return self._index.queued.get(tag, [])

    def ran(self, tag: Tag) -> list[JobRecord]:
        """The job's runs in the accounts, latest last."""
        return self._index.accounted.get(tag, [])

    def tagged(self, workspace: str) -> Iterable[JobRecord]:
        """All jobs in the queue that were sent for this workspace, by any user."""
        return (record for record in self.queue or () if record.tag and record.tag.workspace == workspace)

    def jobs_by_qos(self, user: str, names: Collection[str | None]) -> dict[str | None, int]:
        """Number of this user's jobs in the queue in each of these QOS. One whose QOS is unknown counts in all."""
        mine = [record for record in self.queue or () if record.user in ("", user)]
        return {qos: sum(len(record.ids) for record in mine if record.qos in ("", qos)) for qos in names}

    def state(self, tag: Tag, index: int | None = None) -> JobState:
        """State of a job or of one array task; UNKNOWN if neither reading gives it."""
        for record in self.live(tag):
            if record.ids.holds(index):
                return record.state
        runs = [record for record in self.ran(tag) if record.ids.holds(index)]
        if not runs:
            return JobState.UNKNOWN
        return JobState.UNKNOWN if self._lags(runs[-1]) else runs[-1].state

    def rewrites_tags(self, job_ids: Collection[str]) -> bool:
        """Whether the site rewrites names and comments: some of these jobs are shown, but none has a tag."""
        ids = {parse_job_ids(job_id).id for job_id in job_ids}
        found = [one for one in (*(self.queue or ()), *(self.accounting or ())) if one.ids.id in ids]
        return bool(found) and not any(one.tag for one in found)

    def job(self, workspace: str, job_id: str, *, untagged: bool = False) -> JobRecord | None:
        """The record of `7`, or of the array task `7_3`, if it is this workspace's; None if there is none.

        If `untagged`, as where the site rewrites tags, a record without any tag counts too; in the queue, only if it
        has a script of ours, which sacct does not show.
        """
        ids = parse_job_ids(job_id)

        def ours(by_job: Mapping[str, list[JobRecord]]) -> list[JobRecord]:
            found = (*by_job.get(ids.id, ()), *(() if ids.index is None else by_job.get(job_id, ())))
            return [one for one in found if one.ids.holds(ids.index) and is_ours(one)]

        def is_ours(one: JobRecord) -> bool:
            return one.tag.workspace == workspace if one.tag else untagged

        if queued := [one for one in ours(self._index.queued_by_job) if one.tag or one.script]:
            return queued[-1]
        ran = ours(self._index.accounted_by_job)
        return ran[-1] if ran and not self._lags(ran[-1]) else None

    def _lags(self, last: JobRecord) -> bool:
        """Whether the accounts lag: they show the job as live, but the more current queue does not have it."""
        return last.state.is_live and self.queue is not None


def identified(snapshot: Snapshot, known: Iterable[Tag]) -> tuple[Snapshot, list[str]]:
    """The snapshot with tags added to jobs whose name and comment the site has rewritten, and the ids of these jobs.

    They are identified by their batch script, whose name contains the submission; an id proves nothing.
    """
    by_submission = {tag.submission: tag for tag in known}
    lost: dict[str, None] = {}
    queue = []
    for record in snapshot.queue or ():
        tag = record.tag or by_submission.get(record.script)
        if tag is not record.tag:
            lost[record.ids.id] = None
        queue.append(replace(record, tag=tag))
    return (replace(snapshot, queue=tuple(queue)), list(lost)) if lost else (snapshot, [])


class _Index:
    """Records by tag and id; each index is built once, when first needed."""

    def __init__(self, queue: Sequence[JobRecord], accounting: Sequence[JobRecord]) -> None:
        self._queue, self._accounting = queue, accounting

    @cached_property
    def queued(self) -> Mapping[Tag, list[JobRecord]]:
        return _by_tag(self._queue)

    @cached_property
    def accounted(self) -> Mapping[Tag, list[JobRecord]]:
        return _by_tag(_in_time(self._accounting))

    @cached_property
    def queued_by_job(self) -> Mapping[str, list[JobRecord]]:
        return _by_job(self._queue)

    @cached_property
    def accounted_by_job(self) -> Mapping[str, list[JobRecord]]:
        return _by_job(_in_time(self._accounting))


def _in_time(records: Iterable[JobRecord]) -> list[JobRecord]:
    return sorted(records, key=lambda record: record.submitted_s or 0.0)


def _by_job(records: Iterable[JobRecord]) -> Mapping[str, list[JobRecord]]:
    """By `7_3` the records of one task of an array alone, by `7` all others: an array may have thousands of tasks."""
    return grouped(
        (record.ids.id if record.ids.index is None else f"{record.ids.id}_{record.ids.index}", record)
        for record in records
    )


def _by_tag(records: Iterable[JobRecord]) -> Mapping[Tag, list[JobRecord]]:
    return grouped((record.tag, record) for record in records if record.tag is not None)


def take_snapshot(slurm: Slurm, users: Sequence[str]) -> Snapshot:
    """Ask squeue about all jobs of these users."""
    missing: list[str] = []
    queue = _read(slurm, "squeue", slurm.queue(users), read_queue, missing)
    return Snapshot(time.time(), queue, None, tuple(missing))


def add_accounting(
    snapshot: Snapshot, slurm: Slurm, users: Sequence[str], ended: Sequence[str], since_s: float
) -> Snapshot:
    """The snapshot with sacct's answer about the jobs in `ended`, which the queue may no longer show.

    `since_s` is a time before the first of them was submitted.
    """
    missing = list(snapshot.missing)
    # an array cancelled before it was split is known only by its own id
    asked = list(dict.fromkeys(parse_job_ids(job).id for job in ended))
    accounting = _read(slurm, "sacct", slurm.accounting(since_s, users, asked), read_accounting, missing)
    return replace(snapshot, accounting=accounting, missing=tuple(missing))


def _read(
    slurm: Slurm,
    client: str,
    result: CommandResult,
    read: Callable[[str], tuple[tuple[JobRecord, ...], int]],
    missing: list[str],
) -> tuple[JobRecord, ...] | None:
    consequence = {
        "squeue": QUEUE_UNKNOWN,
        "sacct": "only markers and journals show how jobs ended, and only our own records their GPU-hours",
    }[client]
    name = slurm.named(client)
    if result.returncode != 0:
        here = "here" if slurm.cluster is None else f"on {slurm.cluster}"
        no_accounting = NO_ACCOUNTING in result.stderr
        why = f"there is no accounting {here}" if no_accounting else f"{name} failed ({result.message})"
        missing.append(f"{why}: {consequence}")
        return None
    try:
        records, broken = read(result.stdout)
    except Unreadable as error:
        missing.append(f"{name} gave no usable answer ({error}): {consequence}")
        return None
    if broken:
        missing.append(f"{broken} of {name}'s lines could not be read")
    return records
