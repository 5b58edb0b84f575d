"""`detour release`: what was held goes on."""

from __future__ import annotations

from pathlib import Path

import click

from detour.launch.options import json_option, stage_option, written_workspace_option
from detour.ledger.workspace import Workspace
from detour.orchestration.selection import chosen_stages
from detour.orchestration.slurm import command_journal, control, submitting, tell_affected
from detour.orchestration.waves import continuations
from detour.scheduler.commands import Slurm


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
