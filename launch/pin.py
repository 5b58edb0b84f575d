"""`detour pin`: keeps stages from `detour gc`."""

from __future__ import annotations

import click

from detour.housekeeping.pins import pin, pinned
from detour.launch.options import names_argument, written_workspace_option
from detour.launch.text.screen import show
from detour.ledger.workspace import Workspace
from detour.orchestration.selection import stages_named
from detour.text import counted


@click.command()
@names_argument
@click.option("--why", default="", help="The reason, stored with the pin.")
@written_workspace_option
def command(names: tuple[str, ...], why: str, workspace: Workspace) -> None:
    """Protect stages, and everything they are made of, from `detour gc`."""
    stages = stages_named(workspace, names)
    pin(workspace, stages, why)
    show(f"{counted(len(stages), 'stage')} pinned; {counted(len(pinned(workspace)), 'pin')} in this workspace.")
