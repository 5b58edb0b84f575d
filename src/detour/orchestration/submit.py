"""From plans to jobs in Slurm: an order is made from what is missing and its price, then sent exactly once.

Run again after any kill or refusal, a submission completes what is missing and sends nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from detour.budgets.arithmetic import Line
from detour.budgets.book import Demand
from detour.budgets.caps import load_budgets
from detour.budgets.reserve import demand_for, facts_of, reserving
from detour.config.cluster import Cluster
from detour.errors import SchedulerUnavailable, StageFailed, UserError, Withdrawn
from detour.ledger.events import ChainSubmitted, StageSubmitted
from detour.ledger.folders import refuse_links
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal, command_journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.bad_nodes import bad_nodes
from detour.orchestration.chain_files import forget_chains, new_chains, write_chains
from detour.orchestration.code_snapshot import take_code_snapshot
from detour.orchestration.damage import damaged_outputs, set_aside
from detour.orchestration.failures import Failure, clear_failures, failures_of, with_dependents
from detour.orchestration.gpu_shapes import check_gpus
from detour.orchestration.plans import Planned, check_runnable
from detour.orchestration.requests import JobOptions, job_requests
from detour.orchestration.slurm import (
    script_style,
    submission_folder,
    submit_limit,
    submitter,
    submitting,
)
from detour.orchestration.waves import Continuation, last_jobs, send_continuation
from detour.planning.files import holds_plan
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from detour.pricing.plan_price import PlanPrice, price_in
from detour.scheduler.answers import SubmissionRefused
from detour.scheduler.commands import Slurm
from detour.scheduler.dependency import After
from detour.scheduler.requests import JobRequest
from detour.scheduler.submission import Submission, Submitter
from detour.scheduler.submission_script import submission_script
from detour.scheduler.tags import Tag


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be submitted for one chain or for the chains of a sweep, and what it will cost."""

    name: str
    chains: tuple[str, ...]
    cluster: Cluster
    requests: tuple[JobRequest, ...]
    demand: Demand
    """What it asks of the budgets."""
    price: PlanPrice
    """The price of the stages that it submits."""
    continuation: Continuation
    """Sends the next wave if a submit limit cuts the order."""
    failures: tuple[Failure, ...] = ()
    """Stages that failed permanently."""
    retry: bool = False
    """Whether these are part of the order, and cleared once the budgets accept it.

    Otherwise they and their dependents are left out.
    """
    plans: tuple[Plan, ...] = ()
    """Plans to write into the workspace before anything is sent; empty if they are there already."""
    damaged: tuple[Stage, ...] = ()
    """Done stages whose output is no longer as written: set aside once the budgets accept the order, and remade."""
    warnings: tuple[str, ...] = ()
    """What could not be read from the ledger, and which nodes are excluded."""

    def require_work(self) -> None:
        """Raises StageFailed if only failed stages and their dependents are left, which have been shown already."""
        if self.failures and not self.requests and not self.retry:
            raise StageFailed(
                f"{self.name}: nothing to submit but what failed and its dependents; --retry submits these"
            )


@dataclass(frozen=True, slots=True)
class Submitted:
    """The outcome of an order."""

    order: Order = field(repr=False)
    submission: Submission
    caps: tuple[Line, ...] = ()
    """Budget caps that the order exceeds: soft ones, and hard ones with a recorded reason."""
    next_wave: str | None = None
    """The job that sends what did not fit under a submit limit."""
    next_wave_problem: str | None = None
    """Why there is no such job although the cluster lets jobs submit."""
    calls: Mapping[str, int] | None = None
    """Number of calls of each Slurm command."""
    left_out: tuple[str, ...] = ()
    """Files among the code that are not copied for jobs."""

    def require_done(self) -> None:
        """Raises SchedulerUnavailable if the queue does not show all jobs released; what was sent stays sent."""
        if self.submission.left:
            raise SchedulerUnavailable(self.submission.left)


def order_for(
    workspace: Workspace, planned: Planned, cluster: Cluster, options: JobOptions, *, retry: bool = False
) -> Order:
    """The order for a recipe or a sweep; nothing is written or sent.

    Raises UserError if it cannot be submitted: files are missing, tasks cannot be evaluated, or there is no Slurm.
    """
    check_runnable(planned)
    if cluster.scheduler != "slurm":
        raise UserError(f"cluster {cluster.name} has no Slurm: use `detour run`")
    stages = planned.shared.stages
    damaged = [stages[stage_id] for stage_id in damaged_outputs(workspace, stages.values())] if retry else []
    order = make_order(
        workspace, planned.name, planned.plans, cluster, options, planned.sweep, retry=retry, damaged=damaged
    )
    return replace(order, plans=tuple(planned.plans))


def make_order(
    workspace: Workspace,
    name: str,
    plans: Sequence[Plan],
    cluster: Cluster,
    options: JobOptions,
    sweep: str | None = None,
    *,
    retry: bool = False,
    damaged: Sequence[Stage] = (),
) -> Order:
    """Jobs for what is not done or is `damaged`, each stage once, however many chains need it."""
    stages = {stage.id: stage for plan in plans for stage in plan.stages}
    again = {stage.id for stage in damaged}
    done = {stage_id for stage_id in stages if stage_id not in again and workspace.is_done(stage_id)}
    failures = tuple(failures_of(workspace, plans))
    left_out = set() if retry else with_dependents(stages.values(), [failure.stage for failure in failures])
    missing = [stage for stage_id, stage in stages.items() if stage_id not in done | left_out]
    check_gpus(missing, cluster, options.gpus, options.qos)
    view = LedgerView(workspace)
    price = price_in(workspace, view.state, missing, cluster, options.gpus)
    avoided = bad_nodes(view.state, cluster.name, time.time())
    requests = job_requests(missing, price.prices, cluster, options, done, [node.name for node in avoided])
    chains = tuple(plan.chain for plan in plans)
    facts = facts_of(cluster, options.account, chains[0] if len(chains) == 1 else None, sweep)
    ids = {plan.chain: tuple(stage.id for stage in plan.stages) for plan in plans}
    return Order(
        name,
        chains,
        cluster,
        tuple(requests),
        demand_for(missing, price.prices, cluster, facts),
        price,
        Continuation(name, sweep, ids, cluster, options, len(done)),
        failures,
        retry,
        damaged=tuple(damaged),
        warnings=(*view.warnings, *(f"node {node.name} is excluded: {node.why}" for node in avoided)),
    )


def send(
    workspace: Workspace,
    order: Order,
    *,
    over_budget: str | None = None,
    on_wait: Callable[[str], None],
    finish_interrupted: Callable[[], bool],
) -> Submitted:
    """Send the order to the queue exactly once, under the workspace's claim, if the budgets accept it.

    Slurm is not asked about an order without jobs.

    over_budget         why a hard cap may be exceeded; recorded
    on_wait             receives the other submitter if the order has to wait for it
    finish_interrupted  asked after Ctrl-C, while what was sent is still held: True completes it, False withdraws it

    Raises StageFailed if only failed stages are left, BudgetRefused, SchedulerUnavailable, SubmissionRefused; Withdrawn
    after an interrupted submission that was not completed.
    """
    order.require_work()
    if not order.requests:
        _store_plans(workspace, order)
        return Submitted(order, Submission({}, (), (), ()))
    workspace.create()
    slurm = Slurm(cluster=order.cluster.slurm_cluster)
    code = take_code_snapshot(workspace)
    style = script_style(workspace, order.cluster, code.folder)
    with submitting(workspace, on_wait), command_journal(workspace) as journal:
        for request in order.requests:
            refuse_links(workspace.root, submission_folder(workspace, request.unit))
        limit = submit_limit(order.cluster, {request.resources.qos for request in order.requests})
        kept_free = int(order.cluster.compute_nodes_submit)  # for the job that sends the next wave

        def make() -> Submitter:
            return submitter(workspace, journal, slurm, style, limit, kept_free)

        with reserving(workspace, journal, load_budgets(), order.demand, over_budget) as reservation:
            brought_in = new_chains(workspace, order.plans)
            _prepare_folders(workspace, order)
            try:
                submission = _submit(make, order.requests, finish_interrupted)
            except (SubmissionRefused, Withdrawn):
                forget_chains(workspace, brought_in)
                raise
            reservation.commit()
        _record(journal, order, submission)
        next_wave, problem = None, None
        if submission.deferred and order.cluster.compute_nodes_submit:
            continuation = replace(order.continuation, why_over=over_budget)
            ends = last_jobs(order.requests, submission.jobs)
            try:
                next_wave = send_continuation(workspace, journal, slurm, style, continuation, ends)
            except (SchedulerUnavailable, SubmissionRefused) as error:
                problem = str(error)
    return Submitted(order, submission, reservation.exceeded, next_wave, problem, dict(slurm.calls), code.left_out)


def _prepare_folders(workspace: Workspace, order: Order) -> None:
    """Write what jobs read, and remove what would keep stages from being made again."""
    continuation = order.continuation
    write_chains(workspace, order.plans, order.cluster, order.price.prices, continuation.options, continuation.sweep)
    set_aside(workspace, [stage.id for stage in order.damaged])
    if order.retry:
        clear_failures(workspace, order.name, [failure.stage for failure in order.failures])


def _store_plans(workspace: Workspace, order: Order) -> None:
    """Write the plans of an order without jobs if the workspace does not hold them: a chain may have a new name."""
    plans = [plan for plan in order.plans if not holds_plan(workspace, plan)]
    if plans:
        workspace.create()
        write_chains(
            workspace, plans, order.cluster, options=order.continuation.options, sweep=order.continuation.sweep
        )


def scripts(workspace: Workspace, order: Order) -> list[tuple[JobRequest, str]]:
    """The batch scripts that the order would send, with stages in place of the ids of the jobs they wait for."""
    order.require_work()
    style = script_style(workspace, order.cluster, None)
    made = []
    for request in order.requests:
        tag = Tag(workspace_id(workspace.root), request.unit, 1, "dry-run")
        stages = " ".join(f"<{stage}>" for stage in request.after)
        dependency = After("afterok", stages) if stages else None
        folder: Path = submission_folder(workspace, request.unit)
        made.append((request, submission_script(request, tag, dependency, style, folder)))
    return made


def _submit(
    make: Callable[[], Submitter], requests: Sequence[JobRequest], finish_interrupted: Callable[[], bool]
) -> Submission:
    """Submit; after Ctrl-C, complete or withdraw what was sent, none of which can have run."""
    try:
        return make().submit(requests)
    except KeyboardInterrupt:
        if finish_interrupted():
            return make().submit(requests)
    ids = make().withdraw({request.unit for request in requests})
    raise Withdrawn(f"withdrawn: {len(ids)} job(s); nothing of this submission is left in Slurm")


def _record(journal: Journal, order: Order, submission: Submission) -> None:
    """Record which job each stage is in, for readers of the ledger; the submission itself does not need it."""
    jobs: dict[str, list[str]] = {}
    for slot, job_id in submission.jobs.items():
        jobs.setdefault(slot.unit, []).append(job_id)
    for request in order.requests:
        for index, task in enumerate(request.tasks):
            for job_id in jobs.get(request.unit, ()):
                job = f"{job_id}_{index}" if request.is_array else job_id
                for stage in task:
                    journal.append(StageSubmitted(), stage=stage, job=job)
    for chain in order.chains:
        journal.append(ChainSubmitted(cluster=order.cluster.name), chain=chain)
