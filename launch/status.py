"""`detour status`: where every chain is, from markers, the ledger and, where jobs are open, one reading of Slurm.

Imports no pydantic, and nothing that could ask Slurm unless there is something to ask.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

import click
import orjson

from detour.launch.options import json_option, workspace_option
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.monitoring.seen import Question, Reading
from detour.monitoring.text import render_text

NARROWEST, WIDEST = 80, 120


@click.command(help="Show chains, stages and what they have used so far.")
@click.argument("chains", nargs=-1)
@workspace_option
@click.option("--watch", is_flag=True, help="Keep looking until Ctrl-C.")
@click.option("--every", "every_s", type=click.FloatRange(0.2), default=2.0, help="Seconds between looks.")
@click.option("--offline", is_flag=True, help="Ask no scheduler: markers and the ledger alone.")
@json_option
def command(
    chains: tuple[str, ...], workspace: Path | None, watch: bool, every_s: float, offline: bool, as_json: bool
) -> None:
    """One look, or many with --watch. Slurm is asked no more often than the cluster's profile allows."""
    place = Workspace.find(workspace)
    monitor = Monitor(place, ask=None if offline else partial(_ask, place))
    if watch:
        _watch(monitor, chains, every_s)
        return
    status = monitor.look(chains)
    if as_json:
        click.echo(orjson.dumps(status.to_json(), option=orjson.OPT_INDENT_2))
    elif not status.chains:
        click.echo(f"no chain in {place.root}; `detour run RECIPE` starts one")
    else:
        click.echo(render_text(status, min(max(_columns(), NARROWEST), WIDEST), colour=sys.stdout.isatty()))


def _columns() -> int:
    """As `shutil.get_terminal_size`, whose import takes longer than the whole reading of a small ledger."""
    told = os.environ.get("COLUMNS", "")
    if told.isdigit():
        return int(told)
    return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 100


def _ask(workspace: Workspace, question: Question) -> Reading:
    from detour.monitoring.jobs import read_jobs

    return read_jobs(workspace, question)


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
