"""What `detour retry` does: failed stages of a chain are cleared, and what is missing of it is ordered again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import clear_failures, failed_stages
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import Order, make_order
from detour.planning.files import plan_file, read_plan


@dataclass(frozen=True, slots=True)
class Retry:
    cleared: Mapping[str, str]
    """Label -> why the stage had failed."""
    order: Order | None
    """None for a chain of a cluster without Slurm, which `detour run` resumes."""


def retry_order(workspace: Workspace, chain: str, options: JobOptions) -> Retry:
    """Clear a chain's failed stages and order what is missing. Raises UserError for an unknown chain."""
    plan, target = read_plan(workspace, chain)
    if target.cluster is None:
        raise UserError(f"{plan_file(workspace, chain)}: no cluster is named; run or submit the recipe again")
    cluster = load_cluster(target.cluster)
    cleared = clear_failures(workspace, chain, failed_stages(workspace, plan.stages))
    if cluster.scheduler != "slurm":
        return Retry(cleared, None)
    return Retry(cleared, make_order(workspace, chain, [plan], cluster, options))
