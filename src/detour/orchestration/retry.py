"""What `detour retry` does: order failed stages of chains and damaged outputs again, with their dependents.

Everything is checked first; an order that the budgets refuse leaves failures and outputs as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.grouping import grouped
from detour.ledger.workspace import Workspace
from detour.orchestration.damage import damaged_outputs, require_texts, set_aside
from detour.orchestration.failures import clear_failures, failed_stages, failure_reason
from detour.orchestration.order import Order, PlanGroup, make_order
from detour.orchestration.requests import JobOptions
from detour.planning.files import Target, plan_file, read_plan, read_plan_outline
from detour.planning.plan import Plan
from detour.planning.selection import select_chains


@dataclass(frozen=True, slots=True)
class Retry:
    name: str
    """Name of the chain, the sweep, or the chains together."""
    chains: tuple[str, ...]
    failed: Mapping[str, str]
    """Label -> why the stage had failed."""
    damaged: Mapping[str, str]
    """Label -> what is wrong with the stage's output."""
    order: Order | None
    """None for chains of a cluster without Slurm: these are cleared already, and `detour run` resumes them."""


def retry_orders(workspace: Workspace, names: Sequence[str], options: JobOptions) -> list[Retry]:
    """One retry for each group of chains that were submitted alike; a stage name means the chains that need it.

    Raises as `retry_order` does.
    """
    targets = {chain: read_plan_outline(workspace, chain).target for chain in select_chains(workspace, names)}
    alike = grouped(
        (repr((target.cluster, target.profile if target.from_file else None, target.options)), chain)
        for chain, target in targets.items()
    )
    return [retry_order(workspace, of_one, options) for of_one in alike.values()]


def retry_order(workspace: Workspace, chains: Sequence[str], options: JobOptions) -> Retry:
    """Order what is missing from chains that were submitted alike; what `options` leaves open is as it was submitted.

    Raises UserError for an unknown chain, or if files that it reads are not as planned.
    """
    read = [read_plan(workspace, chain) for chain in chains]
    plans, (target, *others) = [plan for plan, _ in read], [target for _, target in read]
    sweep = target.sweep if all(other.sweep == target.sweep for other in others) else None
    name = chains[0] if not others else sweep or ", ".join(chains[:3])
    cluster = cluster_of(workspace, chains[0], target)
    stages = list({stage.id: stage for plan in plans for stage in plan.stages}.values())
    failed = failed_stages(workspace, stages)
    labels = _labels(plans)
    reasons = {labels[stage.id]: failure_reason(workspace, stage.id) for stage in failed}
    problems = damaged_outputs(workspace, stages)
    damaged = [stage for stage in stages if stage.id in problems]
    wrong = {labels[stage.id]: problems[stage.id] for stage in damaged}
    require_texts(stage for stage in stages if stage.id in problems or not workspace.is_done(stage.id))
    if cluster.scheduler != "slurm":
        set_aside(workspace, problems)
        clear_failures(workspace, name, failed)
        return Retry(name, tuple(chains), reasons, wrong, None)
    remembered = _remembered(workspace, chains[0], target, options)
    order = make_order(workspace, PlanGroup(name, plans, sweep), cluster, remembered, retry=True, damaged=damaged)
    return Retry(name, tuple(chains), reasons, wrong, order)


def _labels(plans: Sequence[Plan]) -> dict[str, str]:
    """Stage id -> label; with several chains, prefixed with the name of the first one that has it."""
    return {
        stage.id: stage.label if len(plans) == 1 else f"{plan.chain}/{stage.label}"
        for plan in reversed(plans)
        for stage in plan.stages
    }


def cluster_of(workspace: Workspace, chain: str, target: Target) -> Cluster:
    """The profile that the chain was last planned with; its current version if it was found by its name."""
    if target.cluster is not None and not target.from_file:
        return load_cluster(target.cluster)
    try:
        return Cluster.model_validate(target.profile)
    except ValueError as error:
        raise UserError(f"{plan_file(workspace, chain)}: no usable cluster; run or submit the recipe again") from error


def _remembered(workspace: Workspace, chain: str, target: Target, options: JobOptions) -> JobOptions:
    given = {name: value for name, value in asdict(options).items() if value is not None}
    try:
        return JobOptions(**{**(target.options or {}), **given})
    except TypeError as error:
        raise UserError(
            f"{plan_file(workspace, chain)}: {error}; submit the recipe again, which rewrites it"
        ) from error
