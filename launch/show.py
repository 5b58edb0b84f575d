"""`detour show`: everything known about stages: segments, attempts, waits, figures, usage, next steps."""

from __future__ import annotations

import click

from detour.launch.options import json_option, names_argument, offline_option, workspace_option
from detour.launch.text.screen import columns, show, show_json, warn
from detour.launch.text.show import shown_json, shown_lines
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.planning.selection import select


@click.command()
@names_argument
@workspace_option
@offline_option
@json_option
def command(names: tuple[str, ...], workspace: Workspace, offline: bool, as_json: bool) -> None:
    """Show everything known about stages, or about each stage of chains.

    Stages that several chains share are shown once.
    """
    meant = select(workspace, names)
    status = monitor(workspace, offline=offline).look(names)
    if as_json:
        show_json(shown_json(status, meant))
    else:
        show(*shown_lines(status, meant, workspace, columns()))
        warn(status.warnings)
