"""What to do so that every wanted job is in the queue exactly once, decided from three inputs only.

These are what is wanted (requests), what was sent (the ledger), and what Slurm holds (a snapshot with a known queue).
No clock, no I/O: equal inputs give equal decisions, so a submission killed anywhere continues by deciding again.

Slurm lets users cancel, release or change only their own jobs. So jobs committed by another user are joined as they
are; another user's interrupted submission, which is not committed, is left to that user: `counted_for` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detour.scheduler.crash import awaited_by_others, may_have_run
from detour.scheduler.dependency import Dependency, Upstream, after_segments, after_units
from detour.scheduler.records import JobRecord
from detour.scheduler.requests import JobRequest, in_order
from detour.scheduler.sent_jobs import Places, Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.tags import Slot, Tag

NEVER_ARRIVED = "never reached the queue"
LOST = "left the queue while it was held: lost by the controller, or cancelled"
DOUBLE = "another job fills its place"
FORGOTTEN = "sent again as a new job: it is held as after a crash of slurmctld and may have run already"
REPLACED = "its stages are now submitted in another grouping"
LATER = "another submission of the same stages goes first, and is joined"
OBSOLETE = "its stages are done"
SPENT = "sent again: its job had the id of one that Slurm has lost and that may still run"
RAN = "it is done, and Slurm has forgotten that it ran"


@dataclass(frozen=True, slots=True)
class Decision:
    """Facts to record, then orders to give. `send` comes last: it is decided again once the others are done."""

    adopt: Mapping[Tag, str] = field(default_factory=dict)
    """Jobs found by their tag -> their ids."""
    drop: Mapping[Tag, str] = field(default_factory=dict)
    """Jobs that never arrived, were lost or are not wanted, and why."""
    cancel: tuple[str, ...] = ()
    """Jobs that are not wanted, all held except doubles; to be cancelled only once nothing waits for them."""
    successors: Mapping[str, str | None] = field(default_factory=dict)
    """Job that must not be awaited, such as each in `cancel` -> the job that fills its place, if any."""
    release: tuple[str, ...] = ()
    """Jobs that are committed but held, and cannot have run: the release was lost."""
    forgotten: frozenset[Tag] = frozenset()
    """Wanted jobs that are committed but held, and may have run: a crashed controller restores an older state.

    A node that knows the id refuses to run it again ("Duplicate jobid") and is drained, so each is sent again, and
    cancelled once its place is filled.
    """
    left_held: tuple[Sent, ...] = ()
    """The same for stages that are not wanted here, whose own submission decides.

    Also for stages that are done while another user's jobs wait for them: only that user can change those.
    """
    held: tuple[str, ...] = ()
    """Jobs that a user holds on purpose."""
    held_by_others: tuple[Sent, ...] = ()
    """Joined jobs of other users that are held: only those users can release them."""
    in_flight: tuple[str, ...] = ()
    """Wanted stages that are already in flight."""
    wanted: tuple[JobRequest, ...] = ()
    """The requests without stages in flight, ordered so that each can refer to earlier ones."""
    send: tuple[tuple[JobRequest, Slot], ...] = ()
    """Their empty slots."""

    @property
    def is_settled(self) -> bool:
        """Whether every wanted job is in the queue, and nothing else."""
        return not (self.adopt or self.drop or self.cancel or self.send)


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


def decide(
    requests: Sequence[JobRequest],
    known: Mapping[Tag, Sent],
    snapshot: Snapshot,
    workspace: str,
    is_done: Callable[[str], bool] = lambda stage: False,  # noqa: ARG005
    *,
    has_room: bool = True,
) -> Decision:
    """Decide for the user whose jobs `known` and `snapshot` hold (see `counted_for`).

    `is_done` reads a stage's marker, later than the snapshot: a stage neither in the queue nor done is not under way.
    Without `has_room`, when nothing more can be sent, jobs that may have run are released anyway. Raises ValueError if
    the snapshot does not know the queue: nothing can be decided from ignorance.
    """
    if snapshot.queue is None:
        raise ValueError("the queue is not known")
    ordered = in_order(left for request in requests if (left := _less(request, is_done)) is not None)
    seen = by_tag(snapshot.tagged(workspace))
    known = _with_orphans(known, seen, ordered)
    adopt, drop, spare = _compare(known, seen)
    current, units = _current(known, seen, adopt, drop), {request.unit: request for request in ordered}
    suspects = may_have_run(current, seen, is_done) if has_room else []
    forgotten = frozenset(sent.tag for sent in suspects if sent.tag.unit in units)
    filled, doubles = _fill(current, seen, units, forgotten)
    at_it = [sent for sent in filled if sent.committed and sent.tag not in forgotten]
    under_way = {stage for sent in at_it for stage in sent.stages}
    wanted = [left for request in ordered if (left := _less(request, under_way.__contains__)) is not None]
    held = [
        sent for sent in filled if sent.committed and sent.job_id and any(record.is_held for record in seen[sent.tag])
    ]
    ours = [sent for sent in held if sent.owner is None]
    ran = _that_ran(filled, held, is_done)
    awaited = awaited_by_others(current, seen)
    asked = {stage for request in ordered for stage in (*request.stages, *request.after)}
    left_held = [
        *(sent for sent in suspects if not asked.intersection(sent.stages)),
        *(sent for sent in ran if sent.owner is None and sent.job_id in awaited),
    ]
    kept = {*forgotten, *(sent.tag for sent in (*left_held, *ran))}
    unwanted = [
        *((sent, FORGOTTEN if sent.tag in forgotten else DOUBLE) for sent in doubles if sent.owner is None),
        *((sent, RAN) for sent in ran if sent.owner is None and sent.job_id not in awaited),
        *_unwanted(wanted, filled, under_way, is_done),
    ]
    doomed = {**spare, **{sent.job_id: sent.slot for sent, _ in unwanted if sent.job_id}}
    fillers = {job: one.job_id for job, slot in doomed.items() if (one := filled.at(slot))}

    def is_empty(slot: Slot) -> bool:
        filler = filled.at(slot)
        return filler is None or filler.tag in forgotten

    return Decision(
        adopt=adopt,
        drop=drop | {sent.tag: why for sent, why in unwanted},
        cancel=tuple(sorted(doomed, key=int)),
        successors={
            **{sent.job_id: None for sent in ran if sent.job_id},
            **{job: None if (filler := fillers.get(job)) in doomed else filler for job in doomed},
        },
        release=tuple(one.job_id for one in ours if one.job_id and not one.is_held and one.tag not in kept),
        forgotten=forgotten,
        left_held=tuple(left_held),
        held=tuple(sent.job_id for sent in ours if sent.job_id and sent.is_held),
        held_by_others=tuple(sent for sent in held if sent.owner is not None and asked.intersection(sent.stages)),
        in_flight=tuple(stage for request in ordered for stage in request.stages if stage in under_way),
        wanted=tuple(wanted),
        send=tuple((request, slot) for request in wanted for slot in request.slots if is_empty(slot)),
    )


def places(
    known: Mapping[Tag, Sent], snapshot: Snapshot, workspace: str, forgotten: Collection[Tag] = frozenset()
) -> Places:
    """Which job fills each slot now, of all that was sent and is in the queue."""
    seen = by_tag(snapshot.tagged(workspace))
    return _fill(_current(known, seen, {}, {}), seen, {}, forgotten)[0]


def dependency_of(request: JobRequest, segment: int, filled: Places) -> Dependency | None:
    """What this segment waits for: queued jobs of earlier stages, named jobs, and its own earlier segments."""
    upstream = [Upstream([job_id], "afterany") for job_id in request.after_jobs]
    for unit in filled.units_of(request.after):
        segments = filled.unit(unit)
        if _corresponds(request, segments[0]):
            upstream.append(Upstream([sent.job_id for sent in segments if sent.job_id], "aftercorr"))
        else:
            by_segment = [sent.ids_for(request.after) for sent in segments]
            upstream += [Upstream(list(ids)) for ids in zip(*by_segment, strict=True)]
    earlier = [sent.job_id for sent in filled.unit(request.unit) if sent.job_id and sent.tag.segment < segment]
    return after_segments(after_units(upstream), earlier)


def _corresponds(request: JobRequest, sent: Sent) -> bool:
    """Whether each task of an array waits for only the task of the same number in the other array."""
    if len(request.after_each) != len(sent.tasks) or not request.is_array:
        return False
    others = set(sent.stages)
    waits = [others.intersection(stages) for stages in request.after_each]
    return all(mine and mine.issubset(task) for mine, task in zip(waits, sent.tasks, strict=True))


def by_tag(records: Iterable[JobRecord]) -> dict[Tag, list[JobRecord]]:
    """Records in the queue, by tag."""
    found: dict[Tag, list[JobRecord]] = {}
    for record in records:
        if record.tag is not None and record.state.is_live:
            found.setdefault(record.tag, []).append(record)
    return found


def _ids(records: Sequence[JobRecord]) -> list[str]:
    return sorted({record.ids.id for record in records}, key=int)


def _with_orphans(
    known: Mapping[Tag, Sent], seen: Mapping[Tag, list[JobRecord]], requests: Sequence[JobRequest]
) -> dict[Tag, Sent]:
    """Add jobs that the ledger does not know but that carry our tag and fill a wanted place: the ledger was lost."""
    tasks = {request.unit: request.tasks for request in requests}
    orphans = {
        tag: Sent(tag, tasks[tag.unit], committed=not any(record.is_held for record in records))
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


def _current(
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
    lines: dict[str, list[JobRecord]] = {}
    for sent, _ in present:
        lines.setdefault(sent.tag.unit, []).extend(seen[sent.tag])
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
        is_held = any(record.is_held for record in seen[sent.tag])
        return sent.tag in forgotten, not sent.committed, is_held, int(sent.job_id or 0)

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


def _less(request: JobRequest, is_settled: Callable[[str], bool]) -> JobRequest | None:
    """The request without the tasks whose stages are all settled; None if nothing is left."""
    left = [index for index, task in enumerate(request.tasks) if not all(map(is_settled, task))]
    if len(left) == len(request.tasks):
        return request
    return request.only(left) if left else None


def _that_ran(filled: Places, held: Iterable[Sent], is_done: Callable[[str], bool]) -> list[Sent]:
    """All segments of done stages one of whose segments is held: Slurm has forgotten that it ran."""
    units = {(sent.tag.unit, sent.owner) for sent in held if all(map(is_done, sent.stages))}
    return [sent for sent in filled if sent.job_id and sent.committed and (sent.tag.unit, sent.owner) in units]


def _unwanted(
    wanted: Sequence[JobRequest], filled: Places, under_way: Collection[str], is_done: Callable[[str], bool]
) -> Iterator[tuple[Sent, str]]:
    """Held jobs of unfinished submissions whose stages are wanted or under way in another grouping, or done."""
    units = {request.unit for request in wanted}
    stages = {stage for request in wanted for stage in request.stages}
    for sent in filled:
        if sent.committed or sent.tag.unit in units:
            continue
        if stages.intersection(sent.stages):
            yield sent, REPLACED
        elif all(map(is_done, sent.stages)):
            yield sent, OBSOLETE
        elif all(stage in under_way or is_done(stage) for stage in sent.stages):
            yield sent, REPLACED
