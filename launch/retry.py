"""`detour retry`: failed stages and their dependents, again, from the last good checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from detour.launch.options import json_option, over_budget_option, written_workspace_option
from detour.launch.submit import submit
from detour.launch.text.screen import say, show
from detour.ledger.workspace import Workspace
from detour.orchestration.requests import JobOptions
from detour.orchestration.retry import retry_order


@click.command()
@click.argument("chain")
@written_workspace_option
@click.option("--gpus", type=click.IntRange(1), help="GPUs a training asks for.  [default: a node's]")
@over_budget_option
@json_option
def command(chain: str, workspace: Path | None, gpus: int | None, over_budget: str | None, as_json: bool) -> None:
    """Resubmit failed stages and their dependents.

    Checkpoints stay: the next attempt resumes from the last good one. A local chain is cleared for `detour run`.
    """
    place = Workspace.find(workspace)
    retry = retry_order(place, chain, JobOptions(gpus))
    for label, reason in retry.cleared.items():
        say(f"{label}: cleared to run again; it had failed: {reason}")
    if retry.order is None:
        (say if as_json else show)(f"{chain}: `detour run` with the same recipe resumes it")
    else:
        submit(place, retry.order, over_budget, as_json)
