"""Runs a recipe or a sweep on this machine: stages start once their inputs are done and cores are free."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from detour.budgets.arithmetic import Line
from detour.budgets.book import Asked
from detour.budgets.caps import load_budgets
from detour.budgets.reserve import reserving
from detour.config.cluster import Cluster
from detour.ledger.claims import holder
from detour.ledger.events import JobAccounted
from detour.ledger.journal import Journal, command_journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from detour.orchestration.damage import damaged_outputs, set_aside
from detour.orchestration.failures import Failure, failure_reason, failures_of, with_dependents
from detour.orchestration.local_gpus import usable_gpus
from detour.orchestration.plans import Planned, asked_of, check_runnable
from detour.planning.files import holds_plan
from detour.planning.order import downstream, startable
from detour.planning.stage import Stage, StageKind
from detour.pricing.plan_price import price_in
from detour.pricing.price import Price
from detour.scheduler.local import LocalJob, start

POLL_S = 0.25
Refresh = Callable[[Collection[str]], None]
"""Called often, with the ids of the running stages."""


@dataclass(frozen=True, slots=True)
class LocalOrder:
    """What is to run on this machine."""

    workspace: Workspace
    planned: Planned
    cluster: Cluster
    """The profile, with this machine's PUE and grid factor."""
    cores: int
    gpus: tuple[str, ...]
    """As in CUDA_VISIBLE_DEVICES."""
    failures: tuple[Failure, ...]
    """Stages that failed for good in an earlier run."""
    retry: bool
    """Whether these run again; otherwise they and their dependents are left out."""
    asked: Asked
    """What the run asks of the budgets."""
    prices: Mapping[str, Price]
    damaged: tuple[str, ...] = ()
    """Ids of done stages whose output is no longer as written: with `retry`, they run again."""
    until: StageKind | None = None
    """The last kind of stage to run; None for all kinds."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Each stage once, however many chains need it."""
        return _until(self.planned, self.until)

    @property
    def is_done(self) -> bool:
        """Whether no stage is left to run and no plan to write."""
        return all(self.workspace.is_done(stage.id) for stage in self.stages) and all(
            holds_plan(self.workspace, plan) for plan in self.planned.plans
        )


@dataclass(frozen=True, slots=True)
class StageFailure:
    """A stage that failed, now or in an earlier run."""

    stage: Stage
    reason: str
    dependents: int
    log: Path | None


@dataclass(frozen=True, slots=True)
class Ran:
    """The outcome of a local run."""

    order: LocalOrder = field(repr=False)
    left: tuple[Stage, ...]
    """Stages that are not done."""
    failures: tuple[StageFailure, ...]
    stopped: bool
    """Whether Ctrl-C or SIGTERM stopped it, after the running stages had saved."""


def local_order(
    workspace: Workspace,
    planned: Planned,
    cluster: Cluster,
    *,
    cores: int | None = None,
    gpus: int | None = None,
    retry: bool = False,
    until: StageKind | None = None,
) -> LocalOrder:
    """What a run would do; nothing is written.

    Without `cores` and `gpus` it takes all of this machine, limited to the GPUs in CUDA_VISIBLE_DEVICES. `until` is the
    last kind of stage to run; None runs everything. Raises UserError if files are missing, tasks cannot be evaluated,
    or there are fewer GPUs.
    """
    check_runnable(planned)
    failures = tuple(failures_of(workspace, planned.plans))
    stages = _until(planned, until)
    left_out = set() if retry else with_dependents(stages, [failure.stage for failure in failures])
    damaged = damaged_outputs(workspace, stages) if retry else {}
    left = [
        stage
        for stage in stages
        if stage.id in damaged or (stage.id not in left_out and not workspace.is_done(stage.id))
    ]
    usable = usable_gpus(gpus)
    price = price_in(workspace, LedgerView(workspace).state, left, cluster, len(usable))
    cores = cores or len(os.sched_getaffinity(0))
    asked = asked_of(planned, left, price)
    prices, damage = price.prices, tuple(damaged)
    return LocalOrder(workspace, planned, cluster, cores, usable, failures, retry, asked, prices, damage, until)


def _until(planned: Planned, kind: StageKind | None) -> tuple[Stage, ...]:
    kinds = get_args(StageKind)
    last = len(kinds) if kind is None else kinds.index(kind)
    return tuple(stage for stage in planned.shared.stages.values() if kinds.index(stage.kind) <= last)


def run_here(
    order: LocalOrder,
    *,
    over_budget: str | None = None,
    on_caps: Callable[[Sequence[Line]], None],
    on_refresh: Refresh,
    on_stop: Callable[[], None],
) -> Ran:
    """Run what is missing; return when nothing more can be started.

        over_budget  why a hard cap may be exceeded; recorded
        on_caps      receives the budget caps that the run exceeds, before it starts
        on_stop      called at the first Ctrl-C or SIGTERM: running stages save and end; a second one exits at once

    Raises BudgetRefused with the arithmetic; KeyboardInterrupt at the second Ctrl-C.
    """
    workspace = order.workspace
    workspace.create()
    runner = Runner(workspace, order.stages, order.cores, order.gpus, order.cluster.name)
    if not order.retry:
        runner.failed = {failure.stage.id: failure.reason for failure in order.failures}
    with (
        command_journal(workspace) as journal,
        reserving(workspace, journal, load_budgets(), order.asked, over_budget) as share,
    ):
        if share.exceeded:
            on_caps(share.exceeded)
        write_chains(workspace, order.planned.plans, order.cluster, order.prices, sweep=order.planned.sweep)
        set_aside(workspace, order.damaged)
        if order.retry:
            for stage in order.stages:
                workspace.failure(stage.id).unlink(missing_ok=True)
        runner.journal = journal
        with _stop_on_ctrl_c(runner, on_stop):
            runner.carry(on_refresh)
    return _result(order, runner)


@dataclass(slots=True)
class Runner:
    """Starts stages as their inputs are done and cores are free, until nothing more can be started."""

    workspace: Workspace
    stages: Sequence[Stage]
    cores: int
    gpus: Sequence[str]
    """As in CUDA_VISIBLE_DEVICES."""
    profile: str | None = None
    """Name of the profile that describes this machine."""
    journal: Journal | None = None
    """Where the resources of each job are recorded."""
    running: dict[str, LocalJob] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Stage id -> why it failed."""
    logs: dict[str, Path] = field(default_factory=dict)
    started_s: dict[str, float] = field(default_factory=dict)
    """Stage id -> when its last job was started, in seconds since the epoch."""
    stopping: bool = False

    def carry(self, refresh: Refresh) -> None:
        while self.step():
            refresh(self.running)
            time.sleep(POLL_S)
        refresh(self.running)

    def step(self) -> bool:
        """Collect what has ended and start what can start. Returns False when there is nothing left to wait for."""
        for stage_id, job in list(self.running.items()):
            if not job.is_running():
                del self.running[stage_id]
                self._account(stage_id, job)
                self._collect(stage_id, job)
        done = {stage.id for stage in self.stages if self.workspace.is_done(stage.id)}
        elsewhere = False
        if not self.stopping:
            blocked = {*self.running, *self.failed}
            for stage in startable(self.stages, done, blocked):
                if holder(self.workspace, stage.id) is not None:
                    elsewhere = True
                elif self._free_cores() >= self._cores(stage) or not self.running:
                    self._start(stage)
        return bool(self.running) or elsewhere

    def stop(self) -> None:
        """Ask every job to save and end; `carry` returns once all have."""
        self.stopping = True
        for job in self.running.values():
            job.ask_to_stop()

    def _cores(self, stage: Stage) -> int:
        """Fine-tunings and summaries take one core each and run side by side; everything else takes all cores."""
        return 1 if stage.kind in ("evaluate", "summarize") else self.cores

    def _free_cores(self) -> int:
        stages = {stage.id: stage for stage in self.stages}
        return self.cores - sum(self._cores(stages[stage_id]) for stage_id in self.running)

    def _start(self, stage: Stage) -> None:
        tasks = max(1, len(self.gpus)) if stage.kind == "pretrain" else 1
        self.started_s[stage.id] = time.time()
        job = start(
            self.workspace.root,
            [stage.id],
            self.workspace.stage(stage.id) / "logs",
            tasks=tasks,
            gpus=self._gpus(stage),
            threads=self._cores(stage),
        )
        self.running[stage.id] = job
        self.logs[stage.id] = job.log

    def _account(self, stage_id: str, job: LocalJob) -> None:
        """Record the job from start to end as seen by this command: longer than its own journal shows."""
        if self.journal is None:
            return
        started_s, (stage,) = self.started_s[stage_id], [stage for stage in self.stages if stage.id == stage_id]
        event = JobAccounted(
            source="local executor",
            submit_s=started_s,
            start_s=started_s,
            elapsed_s=time.time() - started_s,
            gpus=len(self._gpus(stage)),
            nodes=1,
            profile=self.profile,
            stages=[stage_id],
        )
        self.journal.append(event, job=job.id)

    def _gpus(self, stage: Stage) -> Sequence[str]:
        return self.gpus if stage.kind == "pretrain" else self.gpus[:1]

    def _collect(self, stage_id: str, job: LocalJob) -> None:
        """Record why the stage failed, unless it succeeded or another command is running it."""
        if self.workspace.is_done(stage_id) or self.stopping or holder(self.workspace, stage_id) is not None:
            return
        known = LedgerView(self.workspace).state.stages.get(stage_id)
        last = known.attempts[-1] if known and known.attempts else None
        is_anothers = last is not None and last.job != job.id and (last.started_s or 0.0) >= self.started_s[stage_id]
        if self.workspace.has_failed(stage_id):
            self.failed[stage_id] = failure_reason(self.workspace, stage_id)
        elif not is_anothers:
            ours = known.reason if known and last and last.job == job.id else None
            self.failed[stage_id] = ours or "its process was killed"


@contextmanager
def _stop_on_ctrl_c(runner: Runner, on_stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM lets the jobs save and end; a second one exits at once, without waiting for them."""

    def ask(_number: int, _frame: object) -> None:
        if runner.stopping:
            raise KeyboardInterrupt
        on_stop()
        runner.stop()

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _result(order: LocalOrder, runner: Runner) -> Ran:
    stages = {stage.id: stage for stage in order.stages}
    failures = tuple(
        StageFailure(
            stages[stage_id],
            reason,
            len(downstream(order.stages, [stage_id])) - 1,
            runner.logs.get(stage_id),
        )
        for stage_id, reason in runner.failed.items()
    )
    left = tuple(stage for stage in order.stages if not order.workspace.is_done(stage.id))
    return Ran(order, left, failures, runner.stopping)
