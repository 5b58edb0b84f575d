"""`detour retry`: failed stages, and what hangs on them, once more from the last good checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from detour.config.loading import load_cluster
from detour.launch.options import json_option, over_budget_option, written_workspace_option
from detour.launch.submit import make_order, send
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import clear_failures, failed_stages
from detour.orchestration.requests import Wishes
from detour.orchestration.selection import chain_cluster, chain_stages
from detour.planning.build import Plan


@click.command(help="Submit what failed of a chain, and what hangs on it, once more.")
@click.argument("chain")
@written_workspace_option
@click.option("--gpus", type=click.IntRange(1), help="GPUs a training asks for.  [default: a node's]")
@over_budget_option
@json_option
def command(chain: str, workspace: Path | None, gpus: int | None, why_over: str | None, as_json: bool) -> None:
    """Checkpoints stay: the next attempt goes on from the last good one. Local chains are cleared for `detour run`."""
    place = Workspace.find(workspace)
    stages = chain_stages(place, chain)
    cleared = clear_failures(place, chain, failed_stages(place, stages))
    for label, reason in cleared.items():
        click.echo(f"{label}: may run again; it had failed because: {reason}", err=as_json)
    cluster = load_cluster(chain_cluster(place, chain))
    if cluster.scheduler != "slurm":
        click.echo(f"{chain}: `detour run` with the same recipe goes on from here", err=as_json)
        return
    order = make_order(place, chain, [Plan(chain, tuple(stages), {})], cluster, Wishes(), gpus)
    if order.requests:
        send(place, order, as_json, why_over)
    else:
        click.echo(f"{chain}: nothing to submit, all {len(stages)} stages are done", err=as_json)
