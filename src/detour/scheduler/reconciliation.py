"""What to do so that every wanted job is in the queue exactly once, decided from three inputs only.

These are what is wanted (requests), what was sent (the ledger), and what Slurm holds (a snapshot with a known queue).
No clock, no I/O: equal inputs give equal decisions, so a submission killed anywhere continues by deciding again.

Slurm lets users cancel, release or change only their own jobs. So jobs committed by another user are joined as they
are; another user's interrupted submission, which is not committed, is left to that user: `counted_for` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from detour.grouping import grouped
from detour.scheduler.dependency import Dependency, Upstream, after_segments, after_units
from detour.scheduler.matching import is_held, matched
from detour.scheduler.requests import JobRequest, in_order
from detour.scheduler.sent_jobs import Places, Sent
from detour.scheduler.snapshot import Snapshot
from detour.scheduler.tags import Slot, Tag, Tasks

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
    """Jobs that stay held: as `forgotten` ones, but of stages not requested here, whose own submission decides.

    Also jobs of done stages that another user's jobs wait for: only that user can change those.
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
    """The empty slots of the `wanted` requests, in their order."""

    @property
    def is_settled(self) -> bool:
        """Whether every wanted job is in the queue, and nothing else."""
        return not (self.adopt or self.drop or self.cancel or self.send)


def decide(
    requests: Sequence[JobRequest],
    known: Mapping[Tag, Sent],
    snapshot: Snapshot,
    workspace: str,
    is_done: Callable[[str], bool],
    *,
    has_room: bool = True,
    asked: Collection[str] = (),
) -> Decision:
    """Decide for the user whose jobs `known` and `snapshot` hold (see `counted_for`).

    `is_done` reads a stage's marker, later than the snapshot: a stage neither in the queue nor done is not under way.
    `asked` are stages of this submission that `requests` leaves out because they are in flight.
    Without `has_room`, when nothing more can be sent, jobs that may have run are released anyway, unless others have
    been sent in their places. Raises ValueError if the snapshot does not know the queue: nothing can be decided from
    ignorance.
    """
    if snapshot.queue is None:
        raise ValueError("the queue is not known")
    ordered = in_order(left for request in requests if (left := _without_tasks(request, is_done)) is not None)
    found = matched(ordered, known, snapshot, workspace, is_done, has_room=has_room)
    filled, forgotten = found.filled, found.forgotten
    committed = [sent for sent in filled if sent.committed]
    under_way = {stage for sent in committed if sent.tag not in forgotten for stage in sent.stages}
    wanted = _apart((left for request in ordered if (left := request.without(under_way)) is not None), filled)
    send = tuple(_empty_slots(wanted, filled, forgotten))

    held = [sent for sent in committed if sent.job_id and is_held(found.queue[sent.tag])]
    ours = [sent for sent in held if sent.owner is None]
    asked = {*asked, *(stage for request in ordered for stage in (*request.stages, *request.after))}
    ran = _that_ran(filled, held, is_done)
    ours_that_ran = [sent for sent in ran if sent.owner is None]
    left_held = [
        *(sent for sent in found.suspects if not asked.intersection(sent.stages)),
        *(sent for sent in ours_that_ran if sent.job_id in found.awaited),
    ]
    undecided = {*forgotten, *(sent.tag for sent in (*left_held, *ran))}

    unwanted = [
        *((sent, FORGOTTEN if sent.tag in forgotten else DOUBLE) for sent in found.doubles if sent.owner is None),
        *((sent, RAN) for sent in ours_that_ran if sent.job_id not in found.awaited),
        *_superseded(wanted, filled, under_way, is_done),
        *((sent, FORGOTTEN) for sent in _in_other_units(forgotten, wanted, filled, send)),
    ]
    doomed = found.spare | {sent.job_id: sent.slot for sent, _ in unwanted if sent.job_id}
    return Decision(
        adopt=found.adopt,
        drop=found.drop | {sent.tag: why for sent, why in unwanted},
        cancel=tuple(sorted(doomed, key=int)),
        successors=dict.fromkeys(sent.job_id for sent in ran if sent.job_id) | _successors(doomed, filled),
        release=tuple(one.job_id for one in ours if one.job_id and not one.is_held and one.tag not in undecided),
        forgotten=forgotten,
        left_held=tuple(left_held),
        held=tuple(sent.job_id for sent in ours if sent.job_id and sent.is_held),
        held_by_others=tuple(sent for sent in held if sent.owner is not None and asked.intersection(sent.stages)),
        in_flight=tuple(stage for request in ordered for stage in request.stages if stage in under_way),
        wanted=tuple(wanted),
        send=send,
    )


def lone_request(requests: Sequence[JobRequest], sent: Iterable[Sent]) -> JobRequest | None:
    """The only request, if it is one new job or array that waits for nothing.

    None also if sbatch has printed wrong ids before: its answer alone then proves nothing.
    """
    if len(requests) != 1 or requests[0].segments > 1 or requests[0].after:
        return None
    stages = set(requests[0].stages)
    is_known = any(job.is_corrected or not stages.isdisjoint(job.stages) for job in sent)
    return None if is_known else requests[0]


def dependency_of(request: JobRequest, segment: int, filled: Places) -> Dependency | None:
    """What this segment waits for: queued jobs of earlier stages, named jobs, and its own earlier segments."""
    upstream = [Upstream([job_id], "afterany") for job_id in request.after_jobs]
    for unit in filled.units_of(request.after):
        segments = filled.unit(unit)
        if _corresponds(request, segments[0].tasks):
            upstream.append(Upstream([sent.job_id for sent in segments if sent.job_id], "aftercorr"))
        else:
            by_segment = [sent.ids_for(request.after) for sent in segments]
            upstream += [Upstream(list(ids)) for ids in zip(*by_segment, strict=True)]
    earlier = [sent.job_id for sent in filled.unit(request.unit) if sent.job_id and sent.tag.segment < segment]
    return after_segments(after_units(upstream), earlier)


def _corresponds(request: JobRequest, tasks: Tasks) -> bool:
    """Whether each task of an array waits for only the task of the same number in an array of these tasks."""
    if len(request.after_each) != len(tasks) or not request.is_array:
        return False
    others = {stage for task in tasks for stage in task}
    waits = [others.intersection(stages) for stages in request.after_each]
    return all(mine and mine.issubset(task) for mine, task in zip(waits, tasks, strict=True))


def _apart(requests: Iterable[JobRequest], filled: Places) -> list[JobRequest]:
    """The requests, with arrays split whose tasks would have to wait for each other's inputs.

    That is so if some inputs are in flight in another grouping: the failure of one chain would then end another.
    """
    place: dict[str, tuple[str, Tasks]] = {
        stage: (sent.tag.unit, sent.tasks) for sent in filled if sent.committed for stage in sent.stages
    }
    found: list[JobRequest] = []
    for request in requests:
        parts = _parts(request, place) if request.after_each else [request]
        place |= {stage: (part.unit, part.tasks) for part in parts for stage in part.stages}
        found += parts
    return found


def _parts(request: JobRequest, place: Mapping[str, tuple[str, Tasks]]) -> list[JobRequest]:
    """The tasks that wait for the same units together; each alone if they do not correspond to the tasks of these."""
    groups = grouped(
        (frozenset(place[stage][0] for stage in waits if stage in place), index)
        for index, waits in enumerate(request.after_each)
    )
    parts = [request] if len(groups) == 1 else [request.only(indexes) for indexes in groups.values()]
    return [
        one
        for part in parts
        for one in ([part] if _is_free_of_others(part, place) else [part.only([i]) for i in range(len(part.tasks))])
    ]


def _is_free_of_others(request: JobRequest, place: Mapping[str, tuple[str, Tasks]]) -> bool:
    units = dict(place[stage] for stage in request.after if stage in place)
    return len(set(request.after_each)) <= 1 or all(_corresponds(request, tasks) for tasks in units.values())


def _without_tasks(request: JobRequest, is_done: Callable[[str], bool]) -> JobRequest | None:
    """The request without the tasks whose stages are all done; None if nothing is left.

    A job goes past a stage that is done: a task keeps it, so that its unit stays the same.
    """
    return request.without({stage for task in request.tasks if all(map(is_done, task)) for stage in task})


def _that_ran(filled: Places, held: Iterable[Sent], is_done: Callable[[str], bool]) -> list[Sent]:
    """All segments of done stages one of whose segments is held: Slurm has forgotten that it ran."""
    units = {(sent.tag.unit, sent.owner) for sent in held if all(map(is_done, sent.stages))}
    return [sent for sent in filled if sent.job_id and sent.committed and (sent.tag.unit, sent.owner) in units]


def _superseded(
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


def _in_other_units(
    forgotten: Collection[Tag], wanted: Iterable[JobRequest], filled: Places, send: Iterable[tuple[JobRequest, Slot]]
) -> Iterator[Sent]:
    """Forgotten jobs whose stages are requested in another grouping, once all jobs of that are there."""
    units = {request.unit for request in wanted}
    lacking = {stage for request, _ in send for stage in request.stages}
    return (
        sent
        for sent in filled
        if sent.tag in forgotten and sent.tag.unit not in units and lacking.isdisjoint(sent.stages)
    )


def _successors(doomed: Mapping[str, Slot], filled: Places) -> dict[str, str | None]:
    """Job to be cancelled -> the job that fills its place, None if that is to be cancelled too."""
    fillers = {job: filled.at(slot) for job, slot in doomed.items()}
    return {
        job: None if filler is None or filler.job_id in doomed else filler.job_id for job, filler in fillers.items()
    }


def _empty_slots(
    wanted: Iterable[JobRequest], filled: Places, forgotten: Collection[Tag]
) -> Iterator[tuple[JobRequest, Slot]]:
    for request in wanted:
        for slot in request.slots:
            filler = filled.at(slot)
            if filler is None or filler.tag in forgotten:
                yield request, slot
