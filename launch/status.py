"""`detour status`: where every chain is, from markers, the ledger and, where jobs are open, one reading of Slurm.

Imports no pydantic, and nothing that could ask Slurm unless there is something to ask. Without options it is answered
by `detour.launch.quick`.
"""

from __future__ import annotations

import time

import click

from detour.launch.options import json_option, workspace_option
from detour.launch.text.screen import show_json
from detour.launch.text.status import show_status
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor, monitor


@click.command()
@click.argument("chains", nargs=-1)
@workspace_option
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C.")
@click.option("--every", "every_s", type=click.FloatRange(0.2), default=2.0, help="Seconds between refreshes.")
@click.option("--offline", is_flag=True, help="Do not ask Slurm: markers and the ledger alone.")
@json_option
def command(
    chains: tuple[str, ...], workspace: Workspace, watch: bool, every_s: float, offline: bool, as_json: bool
) -> None:
    """Show chains, their stages and what they have used so far.

    Slurm is asked no more often than the cluster's poll interval allows.
    """
    watched = monitor(workspace, offline=offline)
    if watch:
        _watch(watched, chains, every_s)
        return
    status = watched.look(chains)
    if as_json:
        show_json(status.to_json())
    else:
        show_status(status)


def _watch(watched: Monitor, chains: tuple[str, ...], every_s: float) -> None:
    from rich.console import Console

    from detour.launch.text.live import live_view

    try:
        with live_view(Console()) as view:
            while True:
                view(watched.look(chains))
                time.sleep(every_s)
    except KeyboardInterrupt:
        return
