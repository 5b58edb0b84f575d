"""What `detour retry` does: failed stages of a chain and damaged outputs are ordered again, with their dependents.

Everything is looked at first; an order that the budgets refuse leaves failures and outputs as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.orchestration.damage import damaged_outputs, require_texts, set_aside
from detour.orchestration.failures import clear_failures, failed_stages, failure_reason
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import Order, make_order
from detour.planning.files import Target, plan_file, read_plan


@dataclass(frozen=True, slots=True)
class Retry:
    failed: Mapping[str, str]
    """Label -> why the stage had failed."""
    damaged: Mapping[str, str]
    """Label -> what is wrong with the stage's output."""
    order: Order | None
    """None for a chain of a cluster without Slurm, which is cleared already and which `detour run` resumes."""


def retry_order(workspace: Workspace, chain: str, options: JobOptions) -> Retry:
    """Order what is missing of a chain with the options that it was submitted with, where `options` leaves them open.

    Raises UserError for an unknown chain, and where files that it reads are not as they were planned.
    """
    plan, target = read_plan(workspace, chain)
    cluster = _cluster(workspace, chain, target)
    failed = failed_stages(workspace, plan.stages)
    reasons = {stage.label: failure_reason(workspace, stage.id) for stage in failed}
    problems = damaged_outputs(workspace, plan.stages)
    damaged = [stage for stage in plan.stages if stage.id in problems]
    wrong = {stage.label: problems[stage.id] for stage in damaged}
    require_texts(stage for stage in plan.stages if stage in damaged or not workspace.is_done(stage.id))
    if cluster.scheduler != "slurm":
        set_aside(workspace, problems)
        clear_failures(workspace, chain, failed)
        return Retry(reasons, wrong, None)
    remembered = _remembered(workspace, chain, target, options)
    order = make_order(workspace, chain, [plan], cluster, remembered, retry=True, damaged=damaged)
    return Retry(reasons, wrong, order)


def _cluster(workspace: Workspace, chain: str, target: Target) -> Cluster:
    """The profile that the chain was last planned with, as it is now where it has a name."""
    if target.profile is None and target.cluster is not None:
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
