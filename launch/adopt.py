"""`detour adopt`: records jobs of this workspace that Slurm has and the ledger does not know."""

from __future__ import annotations

from pathlib import Path

import click

from detour.launch.options import json_option, written_workspace_option
from detour.ledger.workspace import Workspace
from detour.orchestration.selection import chain_names, chain_stages
from detour.orchestration.slurm import command_journal, control, submitting, tell_affected
from detour.scheduler.commands import Slurm


@click.command(help="Take over jobs of this workspace that a lost ledger left behind.")
@written_workspace_option
@json_option
def command(workspace: Path | None, as_json: bool) -> None:
    """Found by their tags; jobs that are known already are left alone."""
    place = Workspace.find(workspace)
    labels = {stage.id: stage.label for name in chain_names(place) for stage in chain_stages(place, name)}
    with submitting(place), command_journal(place) as journal:
        affected = control(place, journal, Slurm()).adopt(labels)
        for stage_id, job_id in zip(affected.stages, affected.ids, strict=False):
            journal.append("submit.stage", stage=stage_id, job=job_id)
    tell_affected("adopted", affected, labels, as_json)
