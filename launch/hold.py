"""`detour hold`: keeps pending jobs from starting."""

from __future__ import annotations

import click

from detour.launch.options import json_option, names_argument, stage_option, written_workspace_option
from detour.launch.text.control import show_controlled
from detour.launch.text.screen import say_waiting
from detour.ledger.workspace import Workspace
from detour.orchestration.control import hold


@click.command()
@names_argument
@stage_option
@written_workspace_option
@json_option
def command(names: tuple[str, ...], stage: str | None, workspace: Workspace, as_json: bool) -> None:
    """Hold pending jobs of chains, sweeps or stages.

    They stay held if the chain is submitted again, until `detour release`.
    """
    reached = hold(workspace, names, stage, on_wait=say_waiting)
    show_controlled(reached, as_json=as_json)
    reached.require_done()
