"""`detour wait`: returns when chains have ended; the exit code says how."""

from __future__ import annotations

import time

import click

from detour.launch.options import Seconds, json_option, optional_names_argument, workspace_option
from detour.launch.text.screen import show_json, warn
from detour.launch.text.waiting import say_changes, say_outcome
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.monitoring.status import Status
from detour.monitoring.waiting import Verdict, verdict
from detour.planning.files import no_chain

LOOK_S = 5.0
"""Seconds between two looks at markers and ledger; Slurm is asked at the site's own interval."""
SURE_S = 2.0
"""Seconds after which chains must still be stopped: a local run is between two stages for a moment."""
TIMED_OUT = 124
"""The exit code of timeout(1)."""
CODES: dict[Verdict, int] = {"done": 0, "stopped": 3, "going on": TIMED_OUT}


@click.command()
@optional_names_argument
@click.option("--timeout", "timeout_s", type=Seconds(), help="Longest wait, such as 2h.")
@click.option("--fail-fast", is_flag=True, help="Return at the first failed stage.")
@workspace_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    names: tuple[str, ...],
    timeout_s: int | None,
    fail_fast: bool,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Wait until chains have ended.

    Exit code 0: all stages are done; 3: the others are neither running nor pending; 124: the time is over.
    """
    deadline_s = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    watched, last = monitor(workspace), None
    ended_before = False
    while True:
        status: Status = watched.look(names)
        if not status.chains:
            raise no_chain(workspace, status.warnings)
        said = verdict(status.chains, fail_fast=fail_fast)
        say_changes(last, status)
        if last is None:
            warn(status.warnings)
        last = status
        if said == "done" or (said == "stopped" and ended_before) or time.monotonic() >= deadline_s:
            break
        ended_before = said == "stopped"
        time.sleep(max(min(SURE_S if ended_before else LOOK_S, deadline_s - time.monotonic()), 0.0))
    if as_json:
        show_json({"outcome": said, **status.to_json()})
    else:
        say_outcome(said, status)
    context.exit(CODES[said])
