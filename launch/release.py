"""`detour release`: what was held goes on."""

from __future__ import annotations

from pathlib import Path

import click

from detour.ledger.workspace import Workspace
from detour.scheduler.commands import Slurm
from launch.chains import chosen_stages
from launch.options import json_option, stage_option, written_workspace_option
from launch.slurm_site import command_journal, control, submitting, tell_affected
from launch.waves import continuations


@click.command(help="Let what was held of a chain go on.")
@click.argument("chain")
@stage_option
@written_workspace_option
@json_option
def command(chain: str, stage: str | None, workspace: Path | None, as_json: bool) -> None:
    place = Workspace.find(workspace)
    labels = {row.id: row.label for row in chosen_stages(place, chain, stage)} | continuations(place, [chain])
    with submitting(place), command_journal(place) as journal:
        affected = control(place, journal, Slurm()).release(list(labels))
        journal.append("release.chain", chain=chain, jobs=list(affected.ids))
    tell_affected("released", affected, labels, as_json)
