"""`detour retry`: failed stages, and what hangs on them, once more from the last good checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import click

from detour.ledger.workspace import Workspace
from launch.chains import chain_stages
from launch.options import json_option, workspace_option
from launch.slurm_site import command_journal


@click.command(help="Clear the failures of a chain, so that it can be submitted or run again.")
@click.argument("chain")
@workspace_option
@json_option
def command(chain: str, workspace: Path | None, as_json: bool) -> None:
    """Checkpoints stay: the next attempt goes on from the last good one."""
    place = Workspace.find(workspace)
    cleared = {}
    for stage in chain_stages(place, chain):
        marker = place.failure(stage.id)
        if marker.exists():
            cleared[stage.label] = json.loads(marker.read_bytes())["reason"]
            marker.unlink()
    if cleared:
        with command_journal(place) as journal:
            journal.append("chain.retried", chain=chain, stages=cleared)
    if as_json:
        click.echo(json.dumps({"chain": chain, "cleared": cleared}, indent=1))
    elif not cleared:
        click.echo(f"{chain}: no stage has failed for good")
    else:
        for label, reason in cleared.items():
            click.echo(f"{label}: may run again; it had failed because: {reason}")
        click.echo("Now `detour submit` or `detour run` with the same recipe goes on from the last good checkpoint.")
