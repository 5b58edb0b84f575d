"""Stopping, holding and adopting jobs that are already in Slurm, found by tag whatever the ledger knows.

An order is complete when the queue shows it: the queue is read again after each, and jobs not as ordered are named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from detour.errors import SchedulerUnavailable
from detour.grouping import grouped
from detour.ledger.events import JobAccepted, JobEvent, JobIntended, JobsCommitted, JobsDropped, JobsHeld, JobsReleased
from detour.scheduler.answers import CommandResult
from detour.scheduler.by_accounts import ByAccounts, by_accounts
from detour.scheduler.commands import LATE_S, Slurm
from detour.scheduler.crash import may_have_run
from detour.scheduler.job_ids import parse_job_ids
from detour.scheduler.matching import counted_for, queued
from detour.scheduler.records import JobRecord
from detour.scheduler.sent_jobs import Sent, SubmissionLedger, fold, held_stages
from detour.scheduler.snapshot import Snapshot, add_accounting, identified, take_snapshot
from detour.scheduler.states import Standing
from detour.scheduler.tags import Tag, Tasks

CUT_SHORT = "its submission was cut short"
MAY_HAVE_RUN = "held as after a crash of slurmctld, it may have run already"
ACCOUNTS_LATE_S = (LATE_S, 6.0)
"""Seconds that sacct is given before the first and the second look."""


Counts = Callable[[JobRecord], bool]


@dataclass(frozen=True, slots=True)
class Affected:
    """The outcome of an order."""

    ids: tuple[str, ...]
    """Job ids, or array tasks such as `7_3`."""
    stages: tuple[str, ...]
    theirs: tuple[Sent, ...] = ()
    """Other users' jobs, which were left alone because Slurm lets only their owners change them."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Job that is not as ordered -> its state in the queue."""
    said: str = ""
    """Slurm's last complaint."""
    in_queue: frozenset[str] = frozenset()
    """The stages that have a job of any user in the queue after the order."""
    undecided: Mapping[str, str] = field(default_factory=dict)
    """Jobs that the next submission has to decide on first, and why."""
    seen_in: str = "the queue"
    """Where `left` was seen: the queue or sacct."""
    warnings: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    """Why the order did not reach other Slurm clusters, which may have such jobs."""


@dataclass(slots=True)
class Control:
    """For one use, under the same claim as submission."""

    slurm: Slurm
    ledger: SubmissionLedger
    workspace: str
    """The id from `ledger.identity.workspace_id`."""
    users: Sequence[str]
    """As in `Submitter.users`."""
    is_done: Callable[[str], bool] = lambda stage: False  # noqa: ARG005
    """As in `Submitter.is_done`."""
    since_s: float = 0.0
    """A time before the first job was submitted, for sacct."""
    now_s: Callable[[], float] = time.time
    wait: Callable[[float], None] = time.sleep
    _known: dict[Tag, Sent] | None = None

    def cancel(self, stages: Collection[str], why: str, concerned: Collection[str] = ()) -> Affected:
        """Cancel every live job of this user for these stages, last first so that Slurm starts none of them meanwhile.

        Other users' jobs are reported, including those for the further stages in `concerned`. Jobs that left the queue
        earlier, through a previous order or a person's scancel, are recorded as dropped too. If squeue does not answer,
        the jobs that sacct proves to be ours are cancelled. Raises SchedulerUnavailable if neither can be read.
        """
        wanted = set(stages)
        first = take_snapshot(self.slurm, self.users)
        if first.queue is None:
            return self._cancel_by_accounts(first, wanted, why)
        before = identified(first, self._sent())[0]
        everything = self._live(before, {*stages, *concerned})
        live = [sent for sent in everything if sent.owner is None and wanted.intersection(sent.stages)]
        ids = _ids(live, stages, before, _is_live)
        left, said, snapshot = self._give(self.slurm.cancel, ids[::-1], lambda record: not record.is_ending)
        ours = {sent.tag: sent for sent in live}
        there = [
            one
            for one in self._live(snapshot, wanted)
            if not (one.owner is not None and one.tag in ours)  # another user's job with a copy of our tag
            and not all(record.is_ending for record in snapshot.live(one.tag))
        ]
        tags = {sent.tag for sent in there}
        settled = [
            str(tag)
            for tag, sent in {**self._sent(), **ours}.items()
            if sent.stages and wanted.issuperset(sent.stages) and tag not in tags and not sent.dropped
        ]
        if settled:
            self.ledger.append(JobsDropped(tags=settled, why=why))
        if no_longer_held := sorted(wanted & held_stages(self.ledger.events())):
            self.ledger.append(JobsReleased(tags=[], stages=no_longer_held, at_s=self.now_s()))
        reached = [sent for sent in live if sent.tag not in tags or not wanted.issuperset(sent.stages)]
        return Affected(
            tuple(job for job in ids if job not in left),
            _stages(reached, stages, before, _is_live),
            _theirs(everything),
            left,
            said,
            _in_queue(there, wanted, left),
        )

    def _cancel_by_accounts(self, asked: Snapshot, wanted: set[str], why: str) -> Affected:
        """Cancel without squeue; complete when sacct shows it. Jobs not proven to be ours and alive are named."""
        found = self._by_accounts(asked, wanted, "nothing was changed, run it again later")
        ids = list(found.live)
        result = self.slurm.cancel(ids[::-1]) if ids else CommandResult(0)
        after = found
        for pause_s in ACCOUNTS_LATE_S if ids and result.returncode == 0 else ():
            self.wait(pause_s)
            after = self._by_accounts(asked, wanted, "whether it was carried out is not known: run it again later", ids)
            if not after.live:
                break
        ended = {stage for sent in self._sent().values() for stage in sent.stages} - after.open_stages
        settled = [
            str(tag)
            for tag, sent in self._sent().items()
            if sent.stages and (wanted & ended).issuperset(sent.stages) and not sent.dropped
        ]
        if settled:
            self.ledger.append(JobsDropped(tags=settled, why=why))
        done = {job: shown for job, shown in found.live.items() if shown.state.is_live and job not in after.live}
        return Affected(
            tuple(done),
            tuple(dict.fromkeys(stage for shown in done.values() for stage in shown.stages if stage in wanted)),
            tuple(after.theirs),
            {**{job: shown.state.value for job, shown in after.live.items()}, **after.unproven},
            "" if result.returncode == 0 else result.message,
            frozenset(wanted - ended),
            seen_in="sacct",
            warnings=(*asked.missing, "cancelled by what sacct shows; jobs that the ledger does not know may be left"),
        )

    def _by_accounts(
        self, asked: Snapshot, wanted: set[str], consequence: str, ordered: Collection[str] = ()
    ) -> ByAccounts:
        sent = self._sent().values()
        ids = [one.job_id for one in sent if one.job_id and not one.dropped and not wanted.isdisjoint(one.stages)]
        snapshot = add_accounting(asked, self.slurm, self.users, ids, self.since_s) if ids else asked
        if snapshot.accounting is None:
            raise SchedulerUnavailable(f"{'; '.join(snapshot.missing)}; {consequence}")
        return by_accounts(sent, wanted, snapshot, self.users[0], self.is_done, ordered)

    def hold(self, stages: Collection[str]) -> Affected:
        """Keep pending jobs from starting, also those that are sent for these stages later."""
        return self._order(
            stages,
            self.slurm.hold,
            lambda tags, named: JobsHeld(tags=tags, stages=named, at_s=self.now_s()),
            lambda record: not record.is_held,
        )

    def release(self, stages: Collection[str]) -> Affected:
        """Release held jobs, except those that wait for a submission's decision, which could run twice."""
        return self._order(
            stages,
            self.slurm.release,
            lambda tags, named: JobsReleased(tags=tags, stages=named, at_s=self.now_s()),
            lambda record: record.is_held,
            self._undecided,
            is_whole=True,
        )

    def adopt(self, known_stages: Collection[str], tasks_of: Callable[[Tag], Tasks | None]) -> Affected:
        """Record as submitted this user's jobs that carry this workspace's tag and that the ledger does not know.

        Only jobs whose stages are all in `known_stages`. `tasks_of` knows those of a unit of several stages, which its
        tag does not name. Returns a stage for each id, and an id for each stage.
        """
        snapshot, known = self._snapshot(), self._sent()
        orphans: dict[Tag, str] = {
            record.tag: record.ids.id
            for record in sorted(snapshot.tagged(self.workspace), key=lambda record: int(record.ids.id))
            if record.tag is not None and record.tag not in known and self._owner(record) is None
        }
        adopted: dict[Tag, Tasks] = {}
        for tag, job_id in orphans.items():
            tasks = ((tag.unit,),) if tag.unit in known_stages else tasks_of(tag)
            if tasks and {stage for task in tasks for stage in task}.issubset(known_stages):
                adopted[tag] = tasks
                listed = [list(task) for task in tasks]
                cluster = self.slurm.cluster or ""
                self.ledger.append(JobIntended(tags=[str(tag)], tasks=listed, dependency="", slurm_cluster=cluster))
                self.ledger.append(JobAccepted(tags=[str(tag)], job_id=job_id))
        if adopted:
            self.ledger.append(JobsCommitted(tags=[str(tag) for tag in adopted]))
        placed = [
            (orphans[tag] if len(tasks) == 1 else f"{orphans[tag]}_{index}", stage)
            for tag, tasks in adopted.items()
            for index, task in enumerate(tasks)
            for stage in task
        ]
        return Affected(tuple(job for job, _ in placed), tuple(stage for _, stage in placed))

    def _order(
        self,
        stages: Collection[str],
        give: Callable[[Sequence[str]], CommandResult],
        event_of: Callable[[list[str], list[str]], JobEvent],
        is_left: Callable[[JobRecord], bool],
        undecided_in: Callable[[Snapshot], Mapping[Tag, str]] = lambda snapshot: {},  # noqa: ARG005
        *,
        is_whole: bool = False,
    ) -> Affected:
        """Give an order to everything pending that is not undecided, held or not: repeating an order does no harm.

        If `is_whole`, the event names only jobs of which nothing is left: other tasks of an array may stay held.
        """
        snapshot = self._snapshot()
        waiting = [sent for sent in self._live(snapshot, stages) if any(map(_is_waiting, snapshot.live(sent.tag)))]
        undecided = undecided_in(snapshot)
        ours = [sent for sent in waiting if sent.owner is None]
        live = [sent for sent in ours if sent.tag not in undecided]
        ids = _ids(live, stages, snapshot, _is_waiting)
        left, said, after = self._give(give, ids, lambda record: _is_waiting(record) and is_left(record))
        reached = [sent for sent in live if not set(sent.ids_for(stages)).intersection(left)]
        tags = [str(sent.tag) for sent in reached if not (is_whole and any(map(is_left, after.live(sent.tag))))]
        if tags or stages:
            self.ledger.append(event_of(tags, sorted(stages)))
        done = tuple(job for job in ids if job not in left)
        kept = {job: undecided[sent.tag] for sent in ours if sent.tag in undecided for job in sent.ids_for(stages)}
        return Affected(
            done,
            _stages(reached, stages, snapshot, _is_waiting),
            _theirs(waiting),
            left,
            said,
            frozenset(_stages(self._live(after, stages), stages, after, _is_live)),
            undecided=kept,
        )

    def _undecided(self, snapshot: Snapshot) -> Mapping[Tag, str]:
        """Jobs that wait for the decision of a submission (`reconciliation.decide`), and why."""
        known, counted = counted_for(self.users[0], self._sent(), snapshot, self.workspace)
        seen = queued(counted, self.workspace)
        current = [sent for tag, sent in known.items() if tag in seen and not sent.dropped]
        open_tags = [tag for tag in seen if (sent := known.get(tag)) is None or sent.dropped or not sent.committed]
        ran = (sent.tag for sent in may_have_run(current, seen, self.is_done))
        return dict.fromkeys(open_tags, CUT_SHORT) | dict.fromkeys(ran, MAY_HAVE_RUN)

    def _give(
        self,
        order: Callable[[Sequence[str]], CommandResult],
        ids: Sequence[str],
        is_left: Callable[[JobRecord], bool],
    ) -> tuple[dict[str, str], str, Snapshot]:
        """Give the order, read the queue, and after a pause give it once more for what is not as ordered.

        Returns what is left then, with its state; Slurm's last complaint; and the last snapshot.
        """
        left, said = dict.fromkeys(ids, ""), ""
        for pause_s in (0.0, LATE_S) if ids else ():
            self.wait(pause_s)
            result = order([job for job in ids if job in left])
            said = result.message if result.returncode != 0 else ""
            snapshot = self._snapshot("whether the order was carried out is not known: run it again later")
            records = grouped((record.ids.id, record) for record in snapshot.queue or ())
            left = {
                job: f"{record.state.value} {record.reason}".strip()
                for job, asked in [(job, parse_job_ids(job)) for job in left]
                for record in records.get(asked.id, ())
                if (asked.index is None or record.ids.holds(asked.index)) and is_left(record)
            }
            if not left:
                return {}, "", snapshot
        return left, said, snapshot if ids else self._snapshot()

    def _owner(self, record: JobRecord) -> str | None:
        return None if record.user in ("", self.users[0]) else record.user

    def _sent(self) -> dict[Tag, Sent]:
        """What the ledger knew at first of jobs on this cluster: under the claim, only this order changes it."""
        if self._known is None:
            known = fold(self.ledger.events(), self.workspace)
            self._known = {tag: sent for tag, sent in known.items() if sent.may_be_on(self.slurm.cluster)}
        return self._known

    def _snapshot(self, consequence: str = "nothing was changed, run it again later") -> Snapshot:
        snapshot = take_snapshot(self.slurm, self.users)
        if snapshot.queue is None:
            raise SchedulerUnavailable(f"{'; '.join(snapshot.missing)}; {consequence}")
        return identified(snapshot, self._sent())[0]

    def _live(self, snapshot: Snapshot, stages: Collection[str]) -> list[Sent]:
        """The jobs of these stages that are in the queue, known to the ledger or found by tag, in order of id.

        Anyone can write a tag: another user's job with our tag counts as one more job and hides nothing.
        """
        known, wanted = self._sent(), set(stages)
        found: dict[tuple[Tag, str], Sent] = {}
        for record in snapshot.tagged(self.workspace):
            if record.tag is None or not record.state.is_live:
                continue
            sent = known.get(record.tag) or Sent(record.tag, tasks=((record.tag.unit,),))
            if wanted.intersection(sent.stages):
                found[record.tag, record.ids.id] = replace(sent, job_id=record.ids.id, owner=self._owner(record))
        return sorted(found.values(), key=lambda sent: int(sent.job_id or 0))


def _is_live(record: JobRecord) -> bool:
    return record.state.is_live


def _is_waiting(record: JobRecord) -> bool:
    return record.state.standing is Standing.WAITING


def _ids(live: Iterable[Sent], stages: Collection[str], snapshot: Snapshot, counts: Counts) -> list[str]:
    """For an array, only the tasks that are themselves in the queue: other tasks of it may be the only ones left."""
    return [job for sent in live for job in sent.ids_for(stages) if _is_there(sent, job, snapshot, counts)]


def _is_there(sent: Sent, job_id: str, snapshot: Snapshot, counts: Counts) -> bool:
    index = parse_job_ids(job_id).index
    found = (record.ids for record in snapshot.live(sent.tag) if counts(record))
    return any(index is None or not ids.complete or ids.holds(index) for ids in found)


def _in_queue(there: Iterable[Sent], wanted: set[str], left: Collection[str]) -> frozenset[str]:
    """The wanted stages that these jobs hold; of an array with other stages too, those whose own task is left."""
    return frozenset(
        stage
        for sent in there
        for stage in wanted.intersection(sent.stages)
        if wanted.issuperset(sent.stages) or set(sent.ids_for([stage])).intersection(left)
    )


def _theirs(live: Iterable[Sent]) -> tuple[Sent, ...]:
    return tuple(sent for sent in live if sent.owner is not None)


def _stages(live: Iterable[Sent], stages: Collection[str], snapshot: Snapshot, counts: Counts) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            stage
            for sent in live
            for stage in sent.stages
            if stage in stages and any(_is_there(sent, job, snapshot, counts) for job in sent.ids_for([stage]))
        )
    )
