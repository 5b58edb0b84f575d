"""`detour status`: where every chain is, from the ledger and the markers; asks no scheduler and imports no pydantic."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import click
import orjson

from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.monitoring.text import render_text
from launch.options import json_option, workspace_option

NARROWEST, WIDEST = 80, 120


@click.command(help="Show chains, stages and what they have used so far.")
@click.argument("chains", nargs=-1)
@workspace_option
@click.option("--watch", is_flag=True, help="Keep looking until Ctrl-C.")
@click.option("--every", "every_s", type=click.FloatRange(0.2), default=2.0, help="Seconds between looks.")
@json_option
def command(chains: tuple[str, ...], workspace: Path | None, watch: bool, every_s: float, as_json: bool) -> None:
    """One look, or many with --watch."""
    place = Workspace.find(workspace)
    monitor = Monitor(place)
    if watch:
        _watch(monitor, chains, every_s)
        return
    status = monitor.look(chains)
    if as_json:
        click.echo(orjson.dumps(status.to_json(), option=orjson.OPT_INDENT_2))
    elif not status.chains:
        click.echo(f"no chain in {place.root}; `detour run RECIPE` starts one")
    else:
        width = min(max(shutil.get_terminal_size((100, 24)).columns, NARROWEST), WIDEST)
        click.echo(render_text(status, width, colour=sys.stdout.isatty()))


def _watch(monitor: Monitor, chains: tuple[str, ...], every_s: float) -> None:
    from rich.console import Console

    from detour.monitoring.live import live_view

    try:
        with live_view(Console()) as show:
            while True:
                show(monitor.look(chains))
                time.sleep(every_s)
    except KeyboardInterrupt:
        return
