"""`detour cancel`: a chain, or one stage and all that hangs on it, out of Slurm."""

from __future__ import annotations

from pathlib import Path

import click

from detour.budgets.reserve import release_stages
from detour.launch.options import json_option, stage_option, written_workspace_option
from detour.ledger.state import load_state
from detour.ledger.workspace import Workspace
from detour.orchestration.selection import chosen_stages, only_here
from detour.orchestration.slurm import command_journal, control, submitting, tell_affected
from detour.orchestration.waves import continuations
from detour.scheduler.commands import Slurm


@click.command(help="Take a chain, or a stage with its dependants, out of Slurm.")
@click.argument("chain")
@stage_option
@click.option("--shared", is_flag=True, help="Also stages that other chains need.")
@written_workspace_option
@json_option
def command(chain: str, stage: str | None, shared: bool, workspace: Path | None, as_json: bool) -> None:
    """What is done stays; a stage that another chain waits for stays too, unless --shared; so do others' jobs.

    No further wave is sent.
    """
    place = Workspace.find(workspace)
    named = chosen_stages(place, chain, stage)
    stages = named if stage or shared else only_here(place, chain)
    labels = {row.id: row.label for row in named}
    next_waves = continuations(place, [chain])
    with submitting(place), command_journal(place) as journal:
        ours = [*next_waves, *(row.id for row in stages)]
        affected = control(place, journal, Slurm()).cancel(ours, "cancelled by its user", concerned=labels)
        cancelled = [stage_id for stage_id in affected.stages if stage_id in labels]
        known = load_state(place)[0].stages
        for stage_id in cancelled:
            for job in sorted(known[stage_id].jobs if stage_id in known else ()):
                journal.append("cancel.stage", stage=stage_id, job=job, sync=False)
        release_stages(place, journal, cancelled, "cancelled")
        journal.append("cancel.chain", chain=chain, jobs=list(affected.ids))
    tell_affected("cancelled", affected, labels | next_waves, as_json)
