"""The nodes of a chain's cluster: what is free on them, and a shell in a running job."""

from __future__ import annotations

from detour.errors import UserError
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.files import read_plan_outline
from detour.planning.selection import known_chains
from detour.scheduler.commands import Slurm
from detour.scheduler.free_nodes import FreeNodes, read_free_nodes
from detour.scheduler.shell import open_shell


def free_nodes(workspace: Workspace, chain: str) -> list[FreeNodes]:
    """What is free on the chain's cluster. Raises UserError for an unreadable plan, SchedulerUnavailable."""
    return read_free_nodes(Slurm(cluster=read_plan_outline(workspace, chain).target.slurm_cluster))


def shell_in_job(workspace: Workspace, stage: str) -> int:
    """Open a shell in the job that runs the stage, on this terminal; returns its exit code at its end.

    Raises UserError if no job runs it, SchedulerUnavailable.
    """
    known = LedgerView(workspace).state.stage(stage)
    jobs = [run.job for run in known.attempts if run.outcome is None and run.job]
    if not jobs:
        raise UserError(f"{stage}: no job runs it, so there is no node to open a shell on")
    planned = known_chains(workspace).targets().of(stage).slurm_cluster
    return open_shell(Slurm(cluster=known.slurm_cluster(jobs[-1], planned)), jobs[-1])
