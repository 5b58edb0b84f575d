"""`detour run`: runs a recipe or a sweep on this machine; the waiting command handles the dependencies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click

import detour
from detour.budgets.arithmetic import Line
from detour.config.cluster import Cluster
from detour.errors import StageFailed, Withdrawn
from detour.launch.cluster_option import cluster_option
from detour.launch.options import (
    over_budget_option,
    overrides_argument,
    recipe_argument,
    typed_again,
    written_workspace_option,
)
from detour.launch.text.caps import cap_warnings
from detour.launch.text.failures import failure_lines
from detour.launch.text.run import display, done_lines, failures_text, stopped_text
from detour.launch.text.screen import columns, is_animated, say, say_waiting, show, warn
from detour.ledger.workspace import Workspace
from detour.orchestration.local_run import local_order, run_here
from detour.planning.stage import StageKind


@click.command()
@recipe_argument
@overrides_argument
@written_workspace_option
@click.option("--jobs", "cores", type=click.IntRange(1, 4096), help="CPU cores to use.  [default: all of this machine]")
@click.option("--gpus", type=click.IntRange(0), help="GPUs per training.  [default: all visible ones]")
@click.option(
    "--until",
    type=click.Choice(get_args(StageKind)),
    help="Last kind of stage to run, such as prepare.  [default: all]",
)
@click.option("--retry", is_flag=True, help="Also run stages that failed permanently.")
@cluster_option("Profile with this machine's PUE and grid factor.", default="local", show_default=True)
@over_budget_option
@click.option("--quiet", is_flag=True, help="No live display; one line per stage.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workspace: Workspace,
    cores: int | None,
    gpus: int | None,
    until: StageKind | None,
    retry: bool,
    cluster: Cluster,
    over_budget: str | None,
    quiet: bool,
) -> None:
    """Run a recipe or a sweep on this machine.

    Runs what is missing. Ctrl-C saves and stops; the same command resumes.
    """
    planned = detour.plan(recipe, *overrides)
    order = local_order(workspace, planned, cluster, cores=cores, gpus=gpus, retry=retry, until=until)
    if order.is_done:
        show(*done_lines(order, already=True))
        return
    hint = typed_again("--retry")
    failed = [*failure_lines(workspace, order.failures, columns(), hint, by_name=False, retrying=retry)]
    if not retry:
        show(*failed)

    def begin(caps: Sequence[Line]) -> None:
        warn(cap_warnings(caps))
        if retry:
            show(*failed)

    with display(order.workspace, planned, live=not quiet and is_animated()) as refresh:
        ran = run_here(
            order,
            over_budget=over_budget,
            on_wait=say_waiting,
            on_accepted=begin,
            on_refresh=refresh,
            on_stop=lambda: say("\nStopping: running stages save first. Ctrl-C again to leave without waiting."),
        )
    if ran.stopped and ran.left:
        raise Withdrawn(stopped_text(ran))
    if ran.left:
        raise StageFailed(failures_text(ran))
    show(*done_lines(order, already=not order.demand.stages))
