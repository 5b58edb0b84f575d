"""The end of a submission: gates opened, jobs committed, then released, unless another submission goes first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from detour.errors import SchedulerUnavailable
from detour.grouping import grouped
from detour.ledger.events import JobsCommitted, JobsDropped, JobsHeld
from detour.scheduler.commands import LATE_S, Slurm
from detour.scheduler.conflicts import gives_way, rivals_of
from detour.scheduler.job_ids import JobIds, parse_job_ids
from detour.scheduler.knowledge import Knowledge
from detour.scheduler.reconciliation import LATER
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.snapshot import Snapshot

RIVAL_LOOKS = 15
"""Looks, `LATE_S` apart, while waiting for a rival that is to give way."""


@dataclass(slots=True)
class Releaser:
    """Commits and releases the jobs of one submission."""

    slurm: Slurm
    knowledge: Knowledge
    user: str
    open_gate: Callable[[str], None]
    publish: Callable[[Iterable[Sent]], None]
    """As in `Submitter`."""
    wait: Callable[[float], None]
    refresh: Callable[[], None]
    """Reads what other submissions have recorded."""
    snapshot: Callable[[], Snapshot]
    remark: Callable[[str], None]

    def commit_and_release(self, ready: Sequence[Sent], others: Sequence[str], queue: Snapshot) -> str | None:
        """Commit `ready`, then release these and `others`, which are committed already.

        Jobs that wait for others come first, so that nothing starts before all are free. Returns which jobs the queue
        still shows as held, as a sentence; it is empty if there are none. None if another submission of the same stages
        goes first: what was sent is dropped.
        """
        kept = [str(sent.tag) for sent in ready if not self.knowledge.held.isdisjoint(sent.stages)]
        if kept:
            self.knowledge.record(JobsHeld(at_s=time.time(), tags=kept))
        self.commit(ready)
        if self._gives_way(ready):
            self.knowledge.record(JobsDropped(why=LATER, tags=[str(sent.tag) for sent in ready]))
            self.remark(f"{', '.join(sorted({sent.tag.unit for sent in ready}))}: {LATER}")
            return None
        for job_id in others:
            if reason := next((r.by_slurm for r in queue.queue or () if r.ids.id == job_id and r.by_slurm), ""):
                self.remark(f"job {job_id} was held by Slurm ({reason}), and is released")
        self.publish([*ready, *(sent for sent in self.knowledge.sent.values() if sent.job_id in others)])
        if kept:
            named = (sent.job_id or "" for sent in ready if str(sent.tag) in kept)
            self.remark(f"held by `detour hold` until `detour release`: {', '.join(named)}")
        free = (job_id for sent in ready if not sent.gate for job_id in self._not_held_by_people(sent))
        ids = [*others, *self._tasks_left_held(queue), *free][::-1]
        try:
            return self._release(ids) if ids else ""
        except SchedulerUnavailable as error:
            return f"submitted, but whether all jobs are released is not known: {error}"

    def _not_held_by_people(self, sent: Sent) -> list[str]:
        """The job, or those of its tasks that no person holds."""
        return sent.ids_for(stage for task in sent.tasks if self.knowledge.held.isdisjoint(task) for stage in task)

    def _tasks_left_held(self, queue: Snapshot) -> Iterator[str]:
        """Held tasks of committed arrays of which a person holds only others: their release was lost."""
        for sent in self.knowledge.sent.values():
            if sent.is_held and sent.committed and not sent.dropped and not self.knowledge.held.isdisjoint(sent.stages):
                held = [record.ids for record in queue.live(sent.tag) if record.is_held]
                free = [(job_id, parse_job_ids(job_id).index) for job_id in self._not_held_by_people(sent)]
                yield from (job_id for job_id, index in free if any(ids.holds(index) for ids in held))

    def _release(self, ids: Sequence[str]) -> str:
        """Release jobs; return those still held, with Slurm's reasons and message, or an empty string."""
        wanted = grouped((job.id, job.index) for job in map(parse_job_ids, ids))
        for pause_s in (0.0, LATE_S):
            self.wait(pause_s)
            result = self.slurm.release(ids)
            held = {r.ids.id: r.reason for r in self.snapshot().queue or () if r.is_held and _is_one_of(r.ids, wanted)}
            if not held:
                return ""
        named = ", ".join(f"{job} ({held[job]})" for job in sorted(held, key=int))
        said = f"; {result.message}" if result.returncode != 0 else ""
        return (
            f"still held: {named}{said}. Run it again to release them, or ask who holds them: "
            f"`scontrol show job {min(held, key=int)}`"
        )

    def commit(self, ready: Sequence[Sent]) -> None:
        """Open gates, then commit: after a kill in between, the next submission commits running jobs."""
        for sent in ready:
            if sent.gate:
                self.open_gate(sent.gate)
        if ready:
            self.knowledge.record(JobsCommitted(tags=[str(sent.tag) for sent in ready]))

    def _gives_way(self, ready: Sequence[Sent]) -> bool:
        """Whether another submission has committed the same stages since the last look, and goes first.

        If it has released its jobs, it may not know of this one; if they are held, it knows or will look, and the
        oldest job decides. This one waits at most `RIVAL_LOOKS` times for a killed rival, and does not take out jobs
        that another user's jobs wait for.
        """
        before = {tag for tag, sent in self.knowledge.sent.items() if sent.committed}
        for pause_s in (0.0, *[LATE_S] * RIVAL_LOOKS):
            self.refresh()
            rivals = rivals_of(ready, self.knowledge.sent, before)
            if not rivals:
                return False
            self.wait(pause_s)
            if (verdict := gives_way(ready, rivals, self.snapshot(), self.user)) is not None:
                return verdict
        return False


def _is_one_of(ids: JobIds, wanted: Mapping[str, Sequence[int | None]]) -> bool:
    """Whether a line of the queue shows one of the jobs and array tasks, which are given by id."""
    return any(index is None or ids.holds(index) for index in wanted.get(ids.id, ()))
