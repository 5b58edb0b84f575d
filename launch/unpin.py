"""`detour unpin`: lets `detour gc` remove pinned stages again."""

from __future__ import annotations

import click

from detour.housekeeping.pins import pinned, unpin
from detour.launch.options import names_argument, written_workspace_option
from detour.launch.text.screen import show
from detour.ledger.workspace import Workspace
from detour.orchestration.selection import stages_named
from detour.text import counted


@click.command()
@names_argument
@written_workspace_option
def command(names: tuple[str, ...], workspace: Workspace) -> None:
    """Let `detour gc` remove pinned stages again."""
    of_no_chain = [name for name in names if name in pinned(workspace)]
    others = [name for name in names if name not in of_no_chain]
    stages = [*of_no_chain, *(stages_named(workspace, others) if others else ())]
    freed = unpin(workspace, stages)
    show(f"{counted(len(freed), 'pin')} removed; {counted(len(pinned(workspace)), 'pin')} in this workspace.")
