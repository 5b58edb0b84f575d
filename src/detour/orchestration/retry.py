"""What `detour retry` does: failed stages of a chain are cleared, and what is missing of it is ordered again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detour.config.loading import load_cluster
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import clear_failures, failed_stages
from detour.orchestration.requests import JobOptions
from detour.orchestration.selection import chain_cluster, chain_stages
from detour.orchestration.submit import Order, make_order
from detour.planning.build import Plan


@dataclass(frozen=True, slots=True)
class Retry:
    cleared: Mapping[str, str]
    """Label -> why the stage had failed."""
    order: Order | None
    """None for a chain of a cluster without Slurm, which `detour run` resumes."""


def retry_order(workspace: Workspace, chain: str, options: JobOptions) -> Retry:
    """Clear a chain's failed stages and order what is missing. Raises UserError for an unknown chain."""
    stages = chain_stages(workspace, chain)
    cluster = load_cluster(chain_cluster(workspace, chain))
    cleared = clear_failures(workspace, chain, failed_stages(workspace, stages))
    if cluster.scheduler != "slurm":
        return Retry(cleared, None)
    return Retry(cleared, make_order(workspace, chain, [Plan(chain, tuple(stages), {})], cluster, options))
