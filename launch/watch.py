"""`detour watch`: a view of chains on the whole terminal, to walk through with keys."""

from __future__ import annotations

import click

from detour.errors import UserError
from detour.imports import uncollected
from detour.launch.options import every_option, offline_option, optional_names_argument, written_workspace_option
from detour.launch.text.screen import can_draw_screens, say
from detour.launch.text.status import show_status
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor


@click.command()
@optional_names_argument
@written_workspace_option
@every_option
@offline_option
def command(names: tuple[str, ...], workspace: Workspace, every_s: float, offline: bool) -> None:
    """Walk through chains, stages and logs on the whole terminal.

    Keys open chains, follow logs, say why a stage failed or is pending, and cancel, hold or release; `?` lists them.
    """
    if not can_draw_screens():
        raise UserError("`detour watch` needs a terminal with UTF-8: use `detour status --watch` here")
    watched = monitor(workspace, offline=offline)
    with uncollected():
        first = watched.look(names)
        if not first.chains:
            show_status(first)
            return
        from detour.launch.tui.app import Watch
    view = Watch(workspace, lambda: watched.look(names), first, every_s)
    view.run()
    if view.is_ordering:
        say("waiting for Slurm to carry out the order")
    if view.failure is not None:
        raise view.failure
