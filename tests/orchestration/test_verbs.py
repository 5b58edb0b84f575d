"""Any sequence of verbs, kills and fates of jobs: the invariants of submission and control hold after each step.

A rule-based machine submits, cancels, holds and releases the chains of a sweep, which share their first stages, with
waves and interruptions. Jobs do no work: they check their inputs and leave a marker, as the harness does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from detour.config.loading import load_cluster
from detour.errors import DetourError, SchedulerUnavailable, UserError
from detour.jobs.next_wave import send_wave
from detour.ledger.events import JobEvent
from detour.ledger.identity import workspace_id
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration import control
from detour.orchestration.code_snapshot import CodeSnapshot
from detour.orchestration.control import Controlled
from detour.orchestration.order import PlanGroup, make_order
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import Submitted, send
from detour.planning.build import Planner
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from detour.scheduler.commands import Slurm
from detour.scheduler.sent_jobs import fold, held_stages
from tests.monitoring.workspaces import mark_done
from tests.orchestration.task_slurm import Job, Task, TaskSlurm
from tests.scheduler.fake_slurm import Fuse, Killed
from tests.support.recipes import make_recipe
from tests.support.stages import assumed_file

SWEEP = "sweep"
Verb = Callable[..., Controlled]
PLANNER = Planner(assumed_file)
PLANS = {
    name: PLANNER.plan(make_recipe({"name": name, "phases.mlm.tokens": 1024 * number}))
    for number, name in enumerate("ab", 1)
}
STAGES: dict[str, Stage] = {stage.id: stage for plan in PLANS.values() for stage in plan.stages}
OWN = {
    name: {stage.id for stage in plan.stages if sum(stage in other.stages for other in PLANS.values()) == 1}
    for name, plan in PLANS.items()
}
SUBSETS = st.sampled_from([["a"], ["b"], ["a", "b"]])
LABELS = st.sampled_from([None, None, "prepare", "promote clm", "pretrain mlm", "export"])
KILLS = st.one_of(st.none(), st.none(), st.tuples(st.integers(0, 16), st.booleans()))


class Verbs(RuleBasedStateMachine):
    @initialize(limit=st.sampled_from([None, None, 4, 8, 14]), chains=SUBSETS, kill=KILLS)
    def begin(self, limit: int | None, chains: list[str], kill: tuple[int, bool] | None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="detour-verbs-"))
        self.workspace = Workspace(self.folder / "w")
        self.slurm, self.fuse = TaskSlurm(limit), Fuse()
        self.cancelled: set[str] = set()
        """Stages that a person has cancelled and not submitted since."""
        self.made = Counter[str]()
        self.submit(chains, kill, [])

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            try:
                self.everything_completes_once_nothing_fails()
            finally:
                shutil.rmtree(self.folder)

    @contextmanager
    def _clients(self, kill: tuple[int, bool] | None = None) -> Iterator[None]:
        """This Slurm for all verbs, and a kill at the given call, before or after it reaches Slurm."""
        self.fuse.left, self.fuse.after = kill or (None, False)
        client = Slurm(lambda command, timeout_s: self.fuse.guard(self.slurm, command, timeout_s))
        try:
            with pytest.MonkeyPatch.context() as patch, suppress(Killed):
                for room in ("submit", "cluster_orders"):
                    patch.setattr(f"detour.orchestration.{room}.Slurm", lambda **_: client)
                for room in ("control", "withdrawing", "sending", "releasing"):
                    patch.setattr(f"detour.scheduler.{room}.LATE_S", 0.0)
                code = CodeSnapshot(self.folder, ())
                patch.setattr("detour.orchestration.submit.take_code_snapshot", lambda _: code)
                yield
        finally:
            self.fuse.left = None

    def _submit(self, chains: Sequence[str]) -> Submitted:
        cluster, limit = load_cluster("slurm-local"), self.slurm.limit
        qos = tuple(one.model_copy(update={"submitted_jobs": limit}) for one in cluster.qos)
        cluster = cluster.model_copy(update={"qos": qos})
        plans = [PLANS[chain] for chain in chains]
        order = make_order(self.workspace, PlanGroup(SWEEP, plans, SWEEP), cluster, JobOptions(gpus=1))
        order = replace(order, plans=tuple(plans))
        return send(self.workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)

    @rule(chains=SUBSETS, kill=KILLS, faults=st.lists(st.sampled_from(["", "", "", "lost", "down"]), max_size=6))
    def submit(self, chains: list[str], kill: tuple[int, bool] | None, faults: list[str]) -> None:
        self.cancelled -= {stage.id for chain in chains for stage in PLANS[chain].stages}
        self.slurm.faults = faults
        with self._clients(kill), suppress(SchedulerUnavailable):
            self._check(self._submit(chains), [PLANS[chain] for chain in chains])
        self.slurm.faults = []

    def _check(self, sent: Submitted, plans: Sequence[Plan]) -> None:
        """All that is not deferred gets done if all jobs succeed; and without a chain that fails, the others do."""
        sent.require_done()
        put_off = {stage for request in sent.submission.deferred for stage in request.stages}
        wanted = {stage.id for plan in plans for stage in plan.stages} - put_off
        assert wanted <= self._outcome(failing=())
        for plan in plans:
            assert wanted - OWN[plan.chain] <= self._outcome(failing=OWN[plan.chain])

    def _outcome(self, failing: Collection[str]) -> set[str]:
        """The stages that are done once the queue is empty, with everything that a person holds released."""
        slurm, done = self.slurm.copy(), {stage for stage in STAGES if self.workspace.is_done(stage)}
        held = held_stages(self._events())
        for _, task in slurm.live():
            task.held = task.held and held.isdisjoint(task.stages)
        while slurm.start() or slurm.running():
            for job, task in slurm.running():
                is_ready = all(
                    done.issuperset(STAGES[stage].inputs.values()) for stage in task.stages if not job.is_wave
                )
                is_ok = (
                    is_ready and (job.gate is None or job.gate.exists()) and not {*failing}.intersection(task.stages)
                )
                done.update(task.stages if is_ok else ())
                task.state = "COMPLETED" if is_ok else "FAILED"
        return done

    def _events(self) -> list[JobEvent]:
        return [entry.event for entry in LedgerView(self.workspace).commands(JobEvent)]

    @rule(chains=SUBSETS, stage=LABELS, kill=KILLS)
    def cancel(self, chains: list[str], stage: str | None, kill: tuple[int, bool] | None) -> None:
        if reached := self._ordered(control.cancel, chains, stage, kill):
            chosen = (reached.labels.keys() - reached.kept.keys()) & STAGES.keys()
            self.cancelled |= {one for one in chosen if not self.workspace.is_done(one)}

    @rule(verb=st.sampled_from([control.hold, control.release]), chains=SUBSETS, stage=LABELS, kill=KILLS)
    def hold_or_release(self, verb: Verb, chains: list[str], stage: str | None, kill: tuple[int, bool] | None) -> None:
        self._ordered(verb, chains, stage, kill)

    def _ordered(
        self, verb: Verb, chains: Sequence[str], stage: str | None, kill: tuple[int, bool] | None
    ) -> Controlled | None:
        """The outcome; after a kill, that of a second try. None for chains that were never submitted."""
        reached = None
        for instant in (kill, None):
            with self._clients(instant), suppress(UserError):
                reached = verb(self.workspace, chains, stage, on_wait=lambda _: None)
        if reached is not None and not reached.affected.undecided:
            reached.require_done()
        return reached

    @rule(times=st.integers(1, 4))
    def jobs_succeed(self, times: int) -> None:
        for _ in range(times):
            self._start()
            for job, task in self.slurm.running():
                self._end(job, task, "COMPLETED")

    @rule(choice=st.integers(0, 30), state=st.sampled_from(["TIMEOUT", "FAILED", "NODE_FAIL"]))
    def a_job_does_not_succeed(self, choice: int, state: str) -> None:
        self._start()
        if running := [(job, task) for job, task in self.slurm.running() if not job.is_wave]:
            running[choice % len(running)][1].state = state
        self.slurm.settle()

    @rule(kill=KILLS)
    def the_next_wave_is_sent(self, kill: tuple[int, bool] | None) -> None:
        self._start()
        for job, task in self.slurm.running():
            if job.is_wave:
                task.state = "FAILED"
                with self._clients(kill), suppress(DetourError):
                    send_wave(self.workspace, job.tag.unit)
                    task.state = "COMPLETED"

    @rule()
    def records_are_purged(self) -> None:
        self.slurm.purge()

    def _start(self) -> None:
        """Start what can; a job whose gate is closed, or whose inputs are not there, ends at once."""
        while started := self.slurm.start():
            for job, task in started:
                needed = [one for stage in task.stages if not job.is_wave for one in STAGES[stage].inputs.values()]
                if all(map(self.workspace.is_done, task.stages)):
                    task.state = "COMPLETED"
                elif not all(map(self.workspace.is_done, needed)) or (job.gate and not job.gate.exists()):
                    task.state = "FAILED"

    def _end(self, job: Job, task: Task, state: str) -> None:
        if not job.is_wave:
            task.state = state
            for stage in task.stages:
                mark_done(self.workspace, STAGES[stage])
                self.made[stage] += 1

    @invariant()
    def at_most_one_job_of_a_stage_and_segment_can_run(self) -> None:
        if hasattr(self, "folder"):
            free = Counter((stage, job.tag.segment) for job, task in self._free() for stage in task.stages)
            assert not {place for place, count in free.items() if count > 1}
            assert not {stage for stage, count in self.made.items() if count > 1}

    @invariant()
    def nothing_runs_that_is_cancelled_or_held(self) -> None:
        if hasattr(self, "folder"):
            held = held_stages(self._events())
            for _, task in self._free():
                assert self.cancelled.isdisjoint(task.stages)
                assert task.held or task.state == "RUNNING" or held.isdisjoint(task.stages)

    @invariant()
    def all_that_ran_is_in_the_ledger(self) -> None:
        if hasattr(self, "folder") and self.slurm.ran:
            known = fold(self._events(), workspace_id(self.workspace.root))
            for job in self.slurm.ran:
                assert known[job.tag].job_id == str(job.id) or (job.gate and not job.gate.exists())

    def _free(self) -> list[tuple[Job, Task]]:
        """Live tasks that may run: not those of an unfinished submission."""
        if not self.slurm.jobs:
            return []
        known = fold(self._events(), workspace_id(self.workspace.root))
        return [(job, task) for job, task in self.slurm.live() if job.tag in known and known[job.tag].committed]

    def everything_completes_once_nothing_fails(self) -> None:
        for _ in range(30):
            with self._clients():
                with suppress(SchedulerUnavailable):
                    self._submit(list(PLANS))
                control.release(self.workspace, list(PLANS), on_wait=lambda _: None)
            self.the_next_wave_is_sent(None)
            self.jobs_succeed(4)
            if all(map(self.workspace.is_done, STAGES)):
                break
        assert all(map(self.workspace.is_done, STAGES))
        self.the_next_wave_is_sent(None)
        self.jobs_succeed(1)
        assert not [job.id for job, _ in self.slurm.live() if not job.is_wave]


TestVerbs = Verbs.TestCase
TestVerbs.settings = settings(
    max_examples=15, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
