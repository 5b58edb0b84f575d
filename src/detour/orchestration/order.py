"""From plans to an order: the jobs of what is missing, and their price. Nothing is written or sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from detour.budgets.book import Demand
from detour.budgets.reserve import demand_for, facts_of
from detour.config.cluster import Cluster
from detour.errors import StageFailed, UserError
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.bad_nodes import avoiding, bad_nodes
from detour.orchestration.damage import damaged_outputs
from detour.orchestration.failures import Failure, failures_of, with_dependents
from detour.orchestration.gpu_shapes import check_gpus
from detour.orchestration.left_behind import left_behind
from detour.orchestration.plans import Planned, check_runnable
from detour.orchestration.requests import JobOptions, job_requests
from detour.orchestration.waves import Continuation
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from detour.pricing.plan_price import PlanPrice, price_in
from detour.scheduler.in_flight import open_jobs
from detour.scheduler.requests import JobRequest
from detour.text import counted


class PlanGroup(NamedTuple):
    """Plans that are submitted together."""

    name: str
    """Name of the chain or the sweep, or of several chains."""
    plans: Sequence[Plan]
    sweep: str | None = None
    """The sweep to which all of them belong, if they do."""


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
    """Whether the failed stages are part of the order, and their failures cleared once the budgets accept it.

    Otherwise the failed stages and their dependents are left out.
    """
    plans: tuple[Plan, ...] = ()
    """Plans to write into the workspace before anything is sent; empty if they are there already."""
    damaged: tuple[Stage, ...] = ()
    """Done stages whose output is no longer as written: set aside once the budgets accept the order, and remade."""
    warnings: tuple[str, ...] = ()
    """What could not be read from the ledger, which nodes are excluded, which other cluster may have such jobs, and
    what the new plans take from earlier ones."""

    def require_work(self) -> None:
        """Raises StageFailed if only failed stages and their dependents are left, which have been shown already."""
        if self.failures and not self.requests and not self.retry:
            raise StageFailed(
                f"{self.name}: nothing to submit but what failed and its dependents; --retry submits these"
            )


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
    group = PlanGroup(planned.name, planned.plans, planned.sweep)
    order = make_order(workspace, group, cluster, options, retry=retry, damaged=damaged)
    return replace(order, plans=tuple(planned.plans))


def make_order(
    workspace: Workspace,
    group: PlanGroup,
    cluster: Cluster,
    options: JobOptions,
    *,
    retry: bool = False,
    damaged: Sequence[Stage] = (),
) -> Order:
    """Jobs for what is not done or is `damaged`, each stage once, however many chains need it."""
    name, plans, sweep = group
    stages = {stage.id: stage for plan in plans for stage in plan.stages}
    again = {stage.id for stage in damaged}
    done = {stage_id for stage_id in stages if stage_id not in again and workspace.is_done(stage_id)}
    failures = tuple(failures_of(workspace, plans))
    left_out = set() if retry else with_dependents(stages.values(), [failure.stage for failure in failures])
    unneeded = done | left_out
    missing = [stage for stage_id, stage in stages.items() if stage_id not in unneeded]
    check_gpus(missing, cluster, options.gpus, options.qos)
    view = LedgerView(workspace)
    price = price_in(workspace, view.state, missing, cluster, options.gpus)
    requests = job_requests(missing, price.prices, cluster, options, done)
    largest = max((request.resources.nodes for request in requests), default=1)
    avoided = bad_nodes(view.state, cluster, time.time(), largest)
    facts = facts_of(cluster, options.account, plans[0].chain if len(plans) == 1 else None, sweep)
    ids = {plan.chain: tuple(stage.id for stage in plan.stages) for plan in plans}
    return Order(
        name=name,
        chains=tuple(plan.chain for plan in plans if plan.stages),
        cluster=cluster,
        requests=tuple(avoiding(requests, [node.name for node in avoided])),
        demand=demand_for(missing, price.prices, cluster, facts, options.wall_s),
        price=price,
        continuation=Continuation(name, sweep, ids, cluster, options, len(done)),
        failures=failures,
        retry=retry,
        damaged=tuple(damaged),
        warnings=(
            *view.warnings,
            *(f"node {node.name} is excluded: {node.why}" for node in avoided),
            *_jobs_elsewhere(view, missing, cluster.slurm_cluster),
            *left_behind(view, plans, sweep),
        ),
    )


def _jobs_elsewhere(view: LedgerView, stages: Sequence[Stage], cluster: str | None) -> Iterator[str]:
    """A warning for each other Slurm cluster that may have jobs of these stages: a submission looks only at its own."""
    jobs = open_jobs(view)
    found: dict[str, dict[str, Stage]] = {}
    for stage in stages:
        for job in jobs.get(stage.id, ()):
            if job.job_id and job.slurm_cluster is not None and not job.may_be_on(cluster):
                found.setdefault(job.slurm_cluster, {}).setdefault(job.job_id, stage)
    for other, of_cluster in found.items():
        job_id, stage = next(iter(of_cluster.items()))
        yield (
            f"{other or 'the default Slurm cluster'} may have {counted(len(of_cluster), 'job')} of these stages too, "
            f"such as {job_id} ({stage.label}): to run them only here, cancel the chain everywhere with "
            "`detour cancel` and submit it again"
        )
