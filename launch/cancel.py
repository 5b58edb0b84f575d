"""`detour cancel`: removes chains, sweeps, or stages with their dependents from Slurm."""

from __future__ import annotations

import click

from detour.launch.options import json_option, names_argument, stage_option, written_workspace_option
from detour.launch.text.control import show_controlled
from detour.launch.text.screen import say_waiting
from detour.ledger.workspace import Workspace
from detour.orchestration.control import cancel


@click.command()
@names_argument
@stage_option
@click.option("--shared", is_flag=True, help="Also stages that other chains need.")
@written_workspace_option
@json_option
def command(names: tuple[str, ...], stage: str | None, shared: bool, workspace: Workspace, as_json: bool) -> None:
    """Cancel chains, sweeps, or stages with their dependents.

    Finished stages stay, as do stages that other chains still need (unless --shared) and jobs of other users. No
    further wave is sent.
    """
    reached = cancel(workspace, names, stage, shared=shared, on_wait=say_waiting)
    show_controlled(reached, as_json=as_json)
    reached.require_done()
