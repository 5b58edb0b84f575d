"""Run a recipe or a sweep on this machine: what would run, the run under its budgets, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from detour.budgets.arithmetic import Line
from detour.budgets.book import Demand
from detour.budgets.caps import load_budgets
from detour.budgets.reserve import reserving
from detour.config.cluster import Cluster
from detour.errors import UserError
from detour.ledger.journal import command_journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import plans_to_write, write_chains
from detour.orchestration.damage import damaged_outputs, set_aside
from detour.orchestration.failures import Failure, clear_failures, failures_of, with_dependents
from detour.orchestration.local_gpus import usable_gpus
from detour.orchestration.local_runner import LocalRunner, Refresh, stop_on_ctrl_c
from detour.orchestration.plans import Planned, check_runnable, demand_of
from detour.orchestration.requests import require_whole
from detour.orchestration.slurm import submitting
from detour.planning.order import downstream, upstream
from detour.planning.stage import Stage, StageKind
from detour.pricing.plan_price import price_in
from detour.pricing.price import Price


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
    """Stages that failed permanently in an earlier run."""
    retry: bool
    """Whether failed stages run again; otherwise they and their dependents are left out."""
    demand: Demand
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
        return (
            not self.damaged
            and all(self.workspace.is_done(stage.id) for stage in self.stages)
            and not plans_to_write(self.workspace, self.planned.plans, self.cluster)
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
    or this machine cannot provide them.
    """
    for what, asked, least in (("cores", cores, 1), ("GPUs", gpus, 0)):
        require_whole(asked, what)
        if asked is not None and asked < least:
            raise UserError(f"{asked} {what}: expected {least} or more")
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
    demand = demand_of(planned, left, price)
    prices, damage = price.prices, tuple(damaged)
    return LocalOrder(workspace, planned, cluster, cores, usable, failures, retry, demand, prices, damage, until)


def _until(planned: Planned, kind: StageKind | None) -> tuple[Stage, ...]:
    """The stages up to this kind, with all that they need: a training, for instance, needs an earlier promotion."""
    stages, kinds = planned.shared.stages, get_args(StageKind)
    last = len(kinds) if kind is None else kinds.index(kind)
    roots = (stage.id for stage in stages.values() if kinds.index(stage.kind) <= last)
    needed = upstream(roots, lambda stage: stages[stage].inputs.values())
    return tuple(stage for stage in stages.values() if stage.id in needed)


def run_here(
    order: LocalOrder,
    *,
    over_budget: str | None = None,
    on_wait: Callable[[str], None],
    on_accepted: Callable[[Sequence[Line]], None],
    on_refresh: Refresh,
    on_stop: Callable[[], None],
) -> Ran:
    """Run what is missing; return when nothing more can be started.

    over_budget  why a hard cap may be exceeded; recorded
    on_wait      receives the other submitter, or `detour gc`, if the run has to wait for it
    on_accepted  receives the budget caps that the run exceeds, once the budgets accept it
    on_stop      called at the first Ctrl-C or SIGTERM: running stages save and end; a second one exits at once

    Raises BudgetRefused with the arithmetic; ClaimHeld after a wait of two minutes; KeyboardInterrupt at the second
    Ctrl-C.
    """
    workspace = order.workspace
    workspace.create()
    runner = LocalRunner(workspace, order.stages, order.cores, order.gpus, order.cluster.name)
    if not order.retry:
        runner.failed = {failure.stage.id: failure.reason for failure in order.failures}
    with (
        command_journal(workspace) as journal,
        reserving(workspace, journal, load_budgets(), order.demand, over_budget) as share,
    ):
        on_accepted(share.exceeded)
        with submitting(workspace, on_wait):  # `detour gc` may be removing what only these plans need
            _write_order(order)
        runner.journal = journal
        with stop_on_ctrl_c(runner, on_stop):
            runner.run(on_refresh)
    return _result(order, runner)


def _write_order(order: LocalOrder) -> None:
    """Write what jobs read, and remove what would keep stages from being made again."""
    write_chains(order.workspace, order.planned.plans, order.cluster, order.prices, sweep=order.planned.sweep)
    set_aside(order.workspace, order.damaged)
    if order.retry:
        ids = {stage.id for stage in order.stages}
        failed = [failure.stage for failure in order.failures if failure.stage.id in ids]
        clear_failures(order.workspace, order.planned.name, failed)


def _result(order: LocalOrder, runner: LocalRunner) -> Ran:
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
