"""Submission as a transaction: intent recorded, every job sent held, every id recorded, then all released at once.

Each round looks at the queue, decides (`reconciliation`) and acts, until nothing is left to do. The last look is thus
the proof that every job is there, and a run after a kill is just another first round. The commit is one event in the
ledger, written before the release: what is committed belongs to Slurm; what is not has never been able to run.

A single job without dependents takes a shortcut of one sbatch, since it cannot be half submitted. Its script waits at a
gate instead, which opens with the commit.

Two submitters must not run at once: the caller holds a claim. If the claim fails, at least one of them sees the other's
commit after its own, and one of the two gives way between commit and release (`releasing`).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from detour.errors import SchedulerUnavailable
from detour.ledger.events import JobAccepted, JobIntended, JobsCommitted, JobsDropped
from detour.scheduler.answers import SubmissionRefused
from detour.scheduler.commands import Slurm
from detour.scheduler.crash import by_job_id, is_spent
from detour.scheduler.knowledge import Knowledge
from detour.scheduler.matching import counted_for, places
from detour.scheduler.reconciliation import LATER, SPENT, Decision, decide, lone_request
from detour.scheduler.releasing import Releaser
from detour.scheduler.relinking import Relinker
from detour.scheduler.requests import JobRequest, in_order, jobs_by_qos, room_left
from detour.scheduler.sending import Look, ScriptWriter, Sender
from detour.scheduler.sent_jobs import Sent, SubmissionLedger
from detour.scheduler.snapshot import Snapshot, identified, take_snapshot
from detour.scheduler.tags import Slot
from detour.scheduler.withdrawing import Withdrawer

ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Submission:
    """The outcome of a submission."""

    jobs: dict[Slot, str]
    """Every wanted slot that is in the queue now -> its job id."""
    in_flight: tuple[str, ...]
    """Wanted stages that were in flight already."""
    deferred: tuple[JobRequest, ...]
    """Requests beyond the submit limit, for the next wave."""
    remarks: tuple[str, ...]
    """What did not go as planned, for people."""
    requests: tuple[JobRequest, ...] = ()
    """What `jobs` fill, by job id: of an array with tasks in flight already, the others, which have their own unit."""
    limits_s: Mapping[Slot, int | None] = field(default_factory=dict)
    """The time limit that each job was sent with, now or earlier; None if not recorded."""
    left: str = ""
    """What the queue does not show as ordered, and what to do; the jobs are committed all the same."""
    jobs_by_stage: tuple[tuple[str, str], ...] = ()
    """Every wanted stage in the queue with its job or array task, once per segment: also in units of other orders."""


@dataclass(slots=True)
class Submitter:
    """For one use: create it, `submit` or `withdraw`, discard it."""

    slurm: Slurm
    ledger: SubmissionLedger
    workspace: str
    """The id from `ledger.identity.workspace_id`."""
    users: Sequence[str]
    """Users who may have jobs of this workspace: the one who submits, then all others who submit for it."""
    write_script: ScriptWriter
    limits: Mapping[str | None, int] = field(default_factory=dict)
    """Number of jobs per user that each QOS takes at once, counting array tasks individually, where known."""
    kept_free: Collection[str | None] = ()
    """QOS in which one place is left for the job that sends the rest, if not everything fits."""
    is_done: Callable[[str], bool] = lambda stage: False  # noqa: ARG005
    """Reads the stage's own marker, after the queue was read."""
    new_id: Callable[[], str] = lambda: secrets.token_hex(5)
    wait: Callable[[float], None] = time.sleep
    open_gate: Callable[[str], None] = lambda gate: Path(gate).touch()
    publish: Callable[[Iterable[Sent]], None] = lambda sent: None  # noqa: ARG005
    """Records for readers of the ledger which stages are in these jobs, before they can start."""
    _remarks: list[str] = field(default_factory=list)
    _seen: Look = field(default_factory=Look)
    """The last look."""
    _asked: frozenset[str] = frozenset()
    """All stages of the submission."""
    _known: Knowledge = field(init=False)
    _sender: Sender = field(init=False)
    _relinker: Relinker = field(init=False)
    _releaser: Releaser = field(init=False)
    _withdrawer: Withdrawer = field(init=False)

    def __post_init__(self) -> None:
        self._known = Knowledge(self.ledger, self.workspace)
        self._sender = Sender(
            self.slurm,
            self._known,
            self.write_script,
            self.is_done,
            self.new_id,
            self.wait,
            self._snapshot,
            self._remark,
        )
        self._relinker = Relinker(self.slurm, self._known, self._snapshot)
        self._releaser = Releaser(
            self.slurm,
            self._known,
            self.users[0],
            self.open_gate,
            self.publish,
            self.wait,
            self._refresh,
            self._snapshot,
            self._remark,
        )
        self._withdrawer = Withdrawer(self.slurm, self._known, self.wait, self._snapshot, self._remark)

    def submit(self, requests: Sequence[JobRequest]) -> Submission:
        """Send every request to the queue once, and release it.

        Raises SchedulerUnavailable if Slurm gives no usable answer (run it again), SubmissionRefused if it refuses
        (what is not yet committed is withdrawn), ValueError for requests that contradict each other.
        """
        self._known.begin()
        ordered = in_order(requests)
        self._asked = frozenset(stage for request in ordered for stage in request.stages)
        if (alone := self._send_alone(ordered)) is not None:
            return alone
        decision = self._look(ordered)
        in_flight, wave, deferred = decision.in_flight, list(decision.wanted), list[JobRequest]()
        for _ in range(ROUNDS):
            sent_now: set[str] = set()
            if not decision.is_settled:
                sent_now = self._send_or_withdraw(decision, wave)
                if self._sender.full:
                    wave, put_off = self._cut(wave, is_all=not in_flight)
                    deferred += put_off
            is_changed = self._relinker.relink([*ordered, *wave], sent_now, decision.successors, self._seen)
            if decision.is_settled and not is_changed:
                ready = [
                    sent for request in wave for sent in self._seen.filled.unit(request.unit) if not sent.committed
                ]
                left = self._releaser.commit_and_release(ready, decision.release, self._seen.snapshot)
                if left is None:
                    decision = self._look(ordered)
                    in_flight, wave, deferred = decision.in_flight, list(decision.wanted), []
                    continue
                return self._result([*ordered, *wave], in_flight, deferred, left)
            if not is_changed:
                self._withdrawer.discard(decision.cancel)
            decision = self._look(wave)
        raise SchedulerUnavailable(
            "jobs keep vanishing from Slurm's queue; nothing was released. Look at the queue, then run it again"
        )

    def _result(
        self, requests: Sequence[JobRequest], in_flight: tuple[str, ...], deferred: Sequence[JobRequest], left: str
    ) -> Submission:
        by_unit = {request.unit: request for request in requests}
        there = [sent for sent in self._seen.filled if sent.tag.unit in by_unit]
        jobs = {sent.slot: sent.job_id for sent in there if sent.job_id}
        limits_s = {sent.slot: sent.wall_s for sent in there if sent.job_id}
        units = dict.fromkeys(slot.unit for slot in sorted(jobs, key=lambda slot: int(jobs[slot])))
        filled = tuple(by_unit[unit] for unit in units)
        stages = {stage for request in requests for stage in request.stages}
        by_stage = tuple(pair for sent in self._seen.filled for pair in sent.jobs_by_stage if pair[0] in stages)
        return Submission(jobs, in_flight, tuple(deferred), tuple(self._remarks), filled, limits_s, left, by_stage)

    def withdraw(self, stages: Collection[str]) -> list[str]:
        """Cancel what was sent for these stages and not committed; returns the ids. Raises SchedulerUnavailable."""
        self._known.begin()
        decision = self._look([])  # adopts jobs whose ids were not recorded
        while self._relinker.relink([], set(), decision.successors, self._seen):
            decision = self._look([])
        self._withdrawer.discard(decision.cancel)
        units = {sent.tag.unit for sent in self._known.sent.values() if not set(stages).isdisjoint(sent.stages)}
        ids = self._withdrawer.withdraw(units, self._seen.filled)
        self._withdrawer.check_gone(ids)
        return ids

    def _send_alone(self, requests: Sequence[JobRequest]) -> Submission | None:
        """Send a single job that is not known yet, has no dependents and waits for nothing, by the shortcut.

        None if it is not such a job, if sbatch did not confirm it, or if sbatch has printed wrong ids before: the full
        procedure then finds out, and sends again what is not there. If the first job turns up later, its gate never
        opens.
        """
        request = lone_request(requests, self._known.sent.values())
        if request is None or not self._known.held.isdisjoint(request.stages):
            return None
        tag, answer = self._sender.send_gated(request, self._seen)
        if answer.job_id is None:
            return None
        if is_spent(answer.job_id, self._sent_here(), self._seen.snapshot, self.is_done):
            self._known.record(JobsDropped(why=SPENT, tags=[str(tag)]))
            return None
        self._known.record(JobAccepted(job_id=answer.job_id, tags=[str(tag)]))
        if self._known.has_rival(tag):  # asked last: between the answer and the gate no write may wait for a disk
            self._known.record(JobsDropped(why=LATER, tags=[str(tag)]))
            return None
        self.publish([self._known.sent[tag]])
        self._releaser.commit([self._known.sent[tag]])
        by_stage = self._known.sent[tag].jobs_by_stage
        limits_s = {tag.slot: request.wall_s}
        return Submission({tag.slot: answer.job_id}, (), (), (), (request,), limits_s, jobs_by_stage=by_stage)

    def _snapshot(self) -> Snapshot:
        snapshot = take_snapshot(self.slurm, self.users)
        if snapshot.queue is None:
            raise SchedulerUnavailable(
                f"{'; '.join(snapshot.missing)}. Jobs sent so far, if any, are held: run it again later"
            )
        snapshot, lost = identified(snapshot, self._known.sent)
        if lost:
            self._remark(f"the site rewrites names and comments: jobs known only by their scripts: {', '.join(lost)}")
        return snapshot

    def _look(self, requests: Sequence[JobRequest]) -> Decision:
        """Read the queue once and record what it shows. No order is given yet.

        It says nothing about other stages that were sent to another cluster.
        """
        self._refresh()
        snapshot = self._snapshot()
        if self._sender.room is None:
            there = snapshot.jobs_by_qos(self.users[0], self.limits)
            self._sender.room = room_left(self.limits, self.kept_free, there, jobs_by_qos(requests))
        by_id = self._sent_here()
        wanted = {stage for request in requests for stage in request.stages}
        known = {
            tag: sent
            for tag, sent in self._known.sent.items()
            if (tag in self._known.expected or sent.committed or snapshot.live(tag))
            and (sent.may_be_on(self.slurm.cluster) or not wanted.isdisjoint(sent.stages))
        }
        self._known.sent, queue = counted_for(self.users[0], known, snapshot, self.workspace)
        decision = decide(
            requests,
            self._known.sent,
            queue,
            self.workspace,
            self.is_done,
            has_room=not self._sender.full,
            asked=self._asked,
        )
        self._record(decision, requests)
        filled = places(self._known.sent, queue, self.workspace, decision.forgotten)
        self._seen = Look(queue, filled, by_id)
        return decision

    def _sent_here(self) -> Mapping[str, list[Sent]]:
        """Jobs sent to this Slurm cluster, by id: another one gives out the same ids."""
        return by_job_id(sent for sent in self._known.sent.values() if sent.may_be_on(self.slurm.cluster))

    def _record(self, decision: Decision, requests: Sequence[JobRequest]) -> None:
        """Record which jobs a decision adopts and drops, and remark on what it leaves held."""
        for tag, job_id in decision.adopt.items():
            self._remark(f"job {job_id} ({tag.slot}) was found in the queue by its tag, and adopted")
            if tag not in self._known.sent:
                request = next(one for one in requests if one.unit == tag.unit)
                tasks, cluster = [list(task) for task in request.tasks], self.slurm.cluster or ""
                self._known.record(JobIntended(tasks=tasks, dependency="", slurm_cluster=cluster, tags=[str(tag)]))
            self._known.record(JobAccepted(job_id=job_id, tags=[str(tag)]))
        for tag, why in decision.drop.items():
            self._remark(f"{tag.slot}: {why}")
            self._known.record(JobsDropped(why=why, tags=[str(tag)]))
        for sent in decision.held_by_others:
            self._remark(
                f"{sent.slot} is {sent.owner}'s job {sent.job_id}, which is held: only {sent.owner} can release it"
            )
        if decision.held:
            self._remark(f"held by `detour hold` until `detour release`: {', '.join(decision.held)}")
        if decision.left_held:
            jobs = ", ".join(f"{sent.job_id} ({sent.slot})" for sent in decision.left_held)
            self._remark(
                f"held as after a crash of slurmctld, of other chains, which are to be submitted again: {jobs}"
            )

    def _refresh(self) -> None:
        """Read what others recorded.

        A gate that is open without a commit is left by a killed submission: its job may be running and is committed
        here, even if another user owns it.
        """
        self._known.refresh()
        began = [
            str(sent.tag)
            for sent in self._known.sent.values()
            if sent.gate and not (sent.committed or sent.dropped) and os.access(sent.gate, os.F_OK)
        ]
        if began:
            self._known.record(JobsCommitted(tags=began))

    def _remark(self, text: str) -> None:
        if text not in self._remarks:
            self._remarks.append(text)

    def _send_or_withdraw(self, decision: Decision, wave: Sequence[JobRequest]) -> set[str]:
        """Send what is missing; if Slurm refuses it, withdraw what was sent."""
        try:
            return self._sender.send(decision, self._seen)
        except SubmissionRefused:
            units = {request.unit for request in wave}
            self._withdrawer.check_gone(self._withdrawer.withdraw(units, self._seen.filled))
            raise

    def _cut(self, wave: Sequence[JobRequest], *, is_all: bool) -> tuple[list[JobRequest], list[JobRequest]]:
        """Keep the units or segments that were sent; postpone the rest with everything that waits for it.

        Raises SchedulerUnavailable if nothing was sent and `is_all`: the wave is everything that was requested.
        """
        kept: list[JobRequest] = []
        later: list[JobRequest] = []
        put_off: set[str] = set()
        for request in wave:
            present = 0
            while present < request.segments and Slot(request.unit, present + 1) in self._seen.filled:
                present += 1
            if present and not put_off.intersection(request.after):
                kept.append(replace(request, segments=present))
            else:
                later.append(request)
                put_off.update(request.stages)
            if present < request.segments:  # followers must be able to wait for its last segment
                put_off.update(request.stages)
        self._withdrawer.withdraw({request.unit for request in later}, self._seen.filled)
        if not kept and is_all:
            raise SchedulerUnavailable(f"nothing was submitted: {self._sender.full}")
        return kept, later
