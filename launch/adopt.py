"""`detour adopt`: records jobs of this workspace that are in Slurm and not in the ledger."""

from __future__ import annotations

import click

from detour.launch.options import json_option, written_workspace_option
from detour.launch.text.control import show_controlled
from detour.launch.text.screen import say_waiting
from detour.ledger.workspace import Workspace
from detour.orchestration.control import adopt


@click.command()
@written_workspace_option
@json_option
def command(workspace: Workspace, as_json: bool) -> None:
    """Record jobs of this workspace that its ledger does not know.

    They are found by their tags; known jobs are left alone. Use it after a ledger was lost or restored.
    """
    reached = adopt(workspace, on_wait=say_waiting)
    show_controlled(reached, as_json=as_json)
    reached.require_done()
