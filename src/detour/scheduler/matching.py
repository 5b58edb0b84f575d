"""Match jobs that were sent, as the ledger knows them, with those that Slurm holds. Pure, as `reconciliation` is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from detour.grouping import grouped
from detour.scheduler.crash import awaited_by_others, may_have_run
from detour.scheduler.records import JobRecord
from detour.scheduler.requests import JobRequest
from detour.scheduler.sent_jobs import Places, Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.tags import Slot, Tag

NEVER_ARRIVED = "never reached the queue"
LOST = "left the queue while it was held: lost by the controller, or cancelled"


class Matched(NamedTuple):
    """The jobs that were sent, matched with those in the queue."""

    queue: Mapping[Tag, list[JobRecord]]
    adopt: dict[Tag, str]
    drop: dict[Tag, str]
    spare: dict[str, Slot]
    """Id of a job that is dropped or there twice -> the place of which it is one too many."""
    suspects: Sequence[Sent]
    """Jobs that may have run before the controller forgot it (`crash.may_have_run`)."""
    forgotten: frozenset[Tag]
    """The suspects all of whose stages are requested or done: they are sent again, or not needed."""
    filled: Places
    doubles: Sequence[Sent]
    """Jobs whose place another one fills, and uncommitted ones of segments that are not requested any more."""
    awaited: Collection[str]
    """Ids of jobs that other users' jobs wait for."""


def matched(
    ordered: Sequence[JobRequest],
    known: Mapping[Tag, Sent],
    snapshot: Snapshot,
    workspace: str,
    is_done: Callable[[str], bool],
    *,
    has_room: bool,
) -> Matched:
    """Match for these requests, which must be in order. Without `has_room`, only suspects replaced already count."""
    queue = queued(snapshot, workspace)
    known = _with_orphans(known, queue, ordered)
    adopt, drop, spare = _compare(known, queue)
    current = _current_jobs(known, queue, adopt, drop)
    suspects = may_have_run(current, queue, is_done)
    if not has_room:
        suspects = _replaced(suspects, current)
    requested = {stage for request in ordered for stage in request.stages}
    forgotten = frozenset(
        sent.tag for sent in suspects if all(stage in requested or is_done(stage) for stage in sent.stages)
    )
    filled, doubles = _fill(current, queue, {request.unit: request for request in ordered}, forgotten)
    awaited = awaited_by_others(current, queue)
    return Matched(queue, adopt, drop, spare, suspects, forgotten, filled, doubles, awaited)


def counted_for(
    user: str, known: Mapping[Tag, Sent], snapshot: Snapshot, workspace: str
) -> tuple[dict[Tag, Sent], Snapshot]:
    """The jobs and the queue that count for this user: without others' jobs that the ledger does not have as committed.

    Others' jobs that do count carry their owner. A job for which Slurm names no user is this user's.
    """
    tagged = list(snapshot.tagged(workspace))
    ours = {record.tag for record in tagged if record.user in ("", user)}
    others = {record.tag: record for record in tagged if record.tag not in ours}
    joined = {
        tag: replace(sent, owner=others[tag].user, job_id=others[tag].ids.id)
        for tag, sent in known.items()
        if tag in others and sent.committed and not sent.dropped
    }
    counted = {tag: joined.get(tag, sent) for tag, sent in known.items() if tag in joined or tag not in others}
    left = [record for record in snapshot.queue or () if record.tag in joined or record.user in ("", user)]
    return counted, replace(snapshot, queue=None if snapshot.queue is None else tuple(left))


def queued(snapshot: Snapshot, workspace: str) -> dict[Tag, list[JobRecord]]:
    """The lines of the queue about jobs of this workspace that have not ended, by tag."""
    records = snapshot.tagged(workspace)
    return grouped((record.tag, record) for record in records if record.tag is not None and record.state.is_live)


def is_held(records: Iterable[JobRecord]) -> bool:
    return any(record.is_held for record in records)


def _with_orphans(
    known: Mapping[Tag, Sent], seen: Mapping[Tag, list[JobRecord]], requests: Sequence[JobRequest]
) -> dict[Tag, Sent]:
    """Add jobs that the ledger does not know but that carry our tag and fill a wanted place: the ledger was lost."""
    tasks = {request.unit: request.tasks for request in requests}
    orphans = {
        tag: Sent(tag, tasks[tag.unit], committed=not is_held(records))
        for tag, records in seen.items()
        if tag not in known and tag.unit in tasks
    }
    return {**known, **orphans}


def _compare(
    known: Mapping[Tag, Sent], seen: Mapping[Tag, list[JobRecord]]
) -> tuple[dict[Tag, str], dict[Tag, str], dict[str, Slot]]:
    """Compare the jobs sent with the queue: what to adopt and drop, and the slots of jobs that must not be there."""
    adopt: dict[Tag, str] = {}
    drop: dict[Tag, str] = {}
    spare: dict[str, Slot] = {}
    for tag, sent in known.items():
        ids = _ids(seen.get(tag, ()))
        if sent.dropped:  # what is being cancelled needs no second order
            spare |= dict.fromkeys(_ids([one for one in seen.get(tag, ()) if not one.is_ending]), tag.slot)
        elif ids:
            keep = sent.job_id if sent.job_id in ids else ids[0]
            spare |= dict.fromkeys([job for job in ids if job != keep], tag.slot)
            if keep != sent.job_id:
                adopt[tag] = keep
        elif not sent.committed:
            drop[tag] = NEVER_ARRIVED if sent.job_id is None else LOST
    return adopt, drop, spare


def _current_jobs(
    known: Mapping[Tag, Sent], seen: Mapping[Tag, list[JobRecord]], adopt: Mapping[Tag, str], drop: Mapping[Tag, str]
) -> list[Sent]:
    """Jobs that were sent and are in the queue, with their ids there.

    An array task that has left the queue in all segments is empty: it was cancelled or has ended.
    """
    present = [
        (sent, adopt.get(tag, sent.job_id))
        for tag, sent in known.items()
        if tag in seen and tag not in drop and not sent.dropped and (sent.job_id or tag in adopt)
    ]
    lines = grouped((sent.tag.unit, line) for sent, _ in present for line in seen[sent.tag])
    return [replace(sent, job_id=job, tasks=_tasks_in_queue(sent.tasks, lines[sent.tag.unit])) for sent, job in present]


def _tasks_in_queue(tasks: tuple[tuple[str, ...], ...], lines: Sequence[JobRecord]) -> tuple[tuple[str, ...], ...]:
    """The tasks that are in the queue, or all if a line does not say which tasks it covers."""
    if len(tasks) < 2 or any(not line.ids.complete or not line.ids.indices for line in lines):
        return tasks
    return tuple(task if any(line.ids.holds(index) for line in lines) else () for index, task in enumerate(tasks))


def _fill(
    current: Sequence[Sent],
    seen: Mapping[Tag, list[JobRecord]],
    requests: Mapping[str, JobRequest],
    forgotten: Collection[Tag],
) -> tuple[Places, list[Sent]]:
    """One job for each slot, and the surplus jobs.

    Committed jobs come first, then those not held, then the oldest; `forgotten` ones last.
    """

    def rank(sent: Sent) -> tuple[bool, bool, bool, int]:
        return sent.tag in forgotten, not sent.committed, is_held(seen[sent.tag]), int(sent.job_id or 0)

    jobs: dict[Slot, Sent] = {}
    doubles: list[Sent] = []
    for sent in sorted(current, key=rank):
        if jobs.setdefault(sent.slot, sent) is not sent:
            doubles.append(sent)
    surplus = [
        sent
        for slot, sent in jobs.items()
        if slot.unit in requests and not sent.committed and slot.segment > requests[slot.unit].segments
    ]
    return Places(sent for sent in jobs.values() if sent not in surplus), doubles + surplus


def _replaced(suspects: Sequence[Sent], current: Iterable[Sent]) -> list[Sent]:
    """The suspects of units in all of whose slots there is another job, or whose stages are all in other units."""
    doubtful = {sent.tag for sent in suspects}
    others = [sent for sent in current if sent.tag not in doubtful]
    filled, stages = {sent.slot for sent in others}, {stage for sent in others for stage in sent.stages}
    begun = {sent.tag.unit for sent in others}
    lacking = {
        sent.tag.unit
        for sent in suspects
        if sent.slot not in filled and (sent.tag.unit in begun or not stages.issuperset(sent.stages))
    }
    return [sent for sent in suspects if sent.tag.unit not in lacking]


def places(
    known: Mapping[Tag, Sent], snapshot: Snapshot, workspace: str, forgotten: Collection[Tag] = frozenset()
) -> Places:
    """Which job fills each slot now, of all that was sent and is in the queue."""
    seen = queued(snapshot, workspace)
    return _fill(_current_jobs(known, seen, {}, {}), seen, {}, forgotten)[0]


def _ids(records: Sequence[JobRecord]) -> list[str]:
    return sorted({record.ids.id for record in records}, key=int)
