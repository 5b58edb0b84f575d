"""`detour status`: the state of every chain, from markers, the ledger and, if jobs are open, one reading of Slurm.

Imports no pydantic, and no code that asks Slurm unless there is something to ask. Without options,
`detour.launch.quick` answers it.
"""

from __future__ import annotations

from contextlib import suppress

import click

from detour.imports import uncollected
from detour.launch.options import (
    Seconds,
    every_option,
    json_option,
    offline_option,
    optional_names_argument,
    sweep_option,
    workspace_option,
)
from detour.launch.text.screen import show, show_json, warn
from detour.launch.text.status import are_chains, none_wanted, show_status
from detour.ledger.workspace import Workspace
from detour.monitoring.filters import Wanted, filtered
from detour.monitoring.monitor import Monitor, monitor
from detour.monitoring.states import WORDS
from detour.planning.selection import require_sweep


@click.command()
@optional_names_argument
@workspace_option
@click.option(
    "--state",
    "states",
    metavar="STATE",
    multiple=True,
    type=click.Choice([*WORDS, "stuck"]),
    help="Chains with a stage in this state, such as failed; stuck is any state that needs a person.",
)
@sweep_option
@click.option("--user", help="Chains that this user planned or submitted last.")
@click.option("--age", "age_s", type=Seconds(), help="Chains active within this time, such as 48h.")
@click.option("--all", "every", is_flag=True, help="List all chains, even if they do not fit the screen.")
@click.option("--watch", is_flag=True, help="Refresh until Ctrl-C; with --json, one line each time.")
@click.option("--once", is_flag=True, help="Show the status once, even with --watch.")
@every_option
@offline_option
@json_option
def command(
    names: tuple[str, ...],
    workspace: Workspace,
    states: tuple[str, ...],
    sweep: str | None,
    user: str | None,
    age_s: int | None,
    every: bool,
    watch: bool,
    once: bool,
    every_s: float,
    offline: bool,
    as_json: bool,
) -> None:
    """Show chains, their stages and what they have used so far.

    A single chain is shown with its stages; several are shown on one line each, worst first. Slurm is asked no more
    often than the cluster's poll interval allows.
    """
    if sweep is not None:
        require_sweep(workspace, sweep)
    watched = monitor(workspace, offline=offline, with_segments=as_json)
    wanted = Wanted(frozenset(states), sweep, user, age_s)
    if watch and not once:
        _watch(watched, names, wanted, every_s, as_json=as_json)
        return
    with uncollected():  # objects stay alive: collecting would take a seventh of the time
        looked = watched.look(names)
        status = filtered(looked, wanted)
        if as_json:
            show_json(status.to_json())
        elif looked.chains and not status.chains:
            warn(status.warnings)
            show(none_wanted(len(looked.chains)))
        else:
            show_status(status, one=are_chains(names, status), every=every)


def _watch(watched: Monitor, names: tuple[str, ...], wanted: Wanted, every_s: float, *, as_json: bool) -> None:
    from detour.launch.text.live import show_looks

    looks = (filtered(look, wanted) for look in watched.looks(names, every_s))
    with suppress(KeyboardInterrupt):
        with uncollected():
            watched.look(names)
        show_looks(looks, names, as_json=as_json)
