"""`detour submit`: submits what is missing of a chain to Slurm, exactly once, and returns; nothing keeps running."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import click

import detour
from detour.budgets.reserve import outlook
from detour.config.cluster import Cluster
from detour.launch.cluster_option import cluster_option
from detour.launch.job_options import job_options
from detour.launch.options import (
    json_option,
    over_budget_option,
    overrides_argument,
    recipe_argument,
    typed_again,
    written_workspace_option,
)
from detour.launch.text.caps import outlook_lines
from detour.launch.text.failures import failure_lines
from detour.launch.text.price import render_price
from detour.launch.text.screen import ask_to_finish, columns, say, say_waiting, show, show_json, warn
from detour.launch.text.submission import dry_run_json, dry_run_lines, nothing_to_submit, show_submitted
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.dry_run import dry_run as look_ahead
from detour.orchestration.order import Order, order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import send


@click.command()
@recipe_argument
@overrides_argument
@written_workspace_option
@cluster_option("Cluster profile: a name (`detour clusters`) or a file.", required=True)
@job_options(gpus="a node's", others="the profile's")
@click.option("--retry", is_flag=True, help="Also submit stages that failed permanently.")
@over_budget_option
@click.option("--dry-run", is_flag=True, help="Print the batch scripts and the price; send nothing.")
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workspace: Workspace,
    cluster: Cluster,
    options: JobOptions,
    retry: bool,
    over_budget: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Submit missing stages of a recipe or sweep to Slurm, exactly once.

    Run again after any kill or refusal, it completes what is missing and sends nothing twice.
    """
    planned = detour.plan(recipe, *overrides)
    order = order_for(workspace, planned, cluster, options, retry=retry)
    failed = [
        *failure_lines(workspace, order.failures, columns(), typed_again("--retry"), retrying=retry),
        *(f"{stage.label}: rebuilt, because its output is damaged" for stage in order.damaged),
    ]
    if dry_run or not retry:
        (say if as_json else show)(*failed)
    if dry_run:
        _dry_run(workspace, order, as_json)
    else:
        submit(workspace, order, over_budget, as_json, failed if retry else ())


def submit(
    workspace: Workspace, order: Order, over_budget: str | None, as_json: bool, again: Iterable[str] = ()
) -> None:
    """Send an order, show the outcome, and forecast what was sent; `again` is shown once the order is accepted."""
    warn(order.warnings)
    began_s = time.time()
    sent = send(workspace, order, over_budget=over_budget, on_wait=say_waiting, finish_interrupted=ask_to_finish)
    (say if as_json else show)(*again)
    show_submitted(sent, workspace, as_json=as_json)
    if sent.submission.jobs:
        from detour.orchestration.forecasts import forecast_submitted

        warn(forecast_submitted(workspace, order.chains, order.cluster.slurm_cluster, began_s))
    sent.require_done()


def _dry_run(workspace: Workspace, order: Order, as_json: bool) -> None:
    view = LedgerView(workspace)
    ahead = look_ahead(view, order)
    warn([*order.warnings, *ahead.remarks])
    if as_json:
        show_json(dry_run_json(order, ahead))
        return
    price = render_price(order.price, columns()) if order.price.stages else nothing_to_submit(order, workspace)
    show(*dry_run_lines(ahead, order.cluster), price, *outlook_lines(outlook(view, order.demand)))
