"""`detour plan`: what a recipe or a sweep would do and what it would cost, before anything runs."""

from __future__ import annotations

import time
from pathlib import Path

import click

import detour
from detour.budgets.reserve import outlook
from detour.config.cluster import Cluster
from detour.errors import UserError
from detour.launch.cluster_option import cluster_option
from detour.launch.options import FilePath, json_option, overrides_argument, recipe_argument, workspace_option
from detour.launch.text.caps import outlook_lines
from detour.launch.text.failures import failure_lines
from detour.launch.text.plan import plan_json, render_plan, shares_lines
from detour.launch.text.price import render_price
from detour.launch.text.screen import columns, show, show_json, warn
from detour.launch.text.when import when_json, when_lines
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import failures_of
from detour.orchestration.gpu_shapes import check_gpus
from detour.orchestration.plans import demand_of
from detour.orchestration.progress import progress_of
from detour.orchestration.when import when_to_start
from detour.pricing.plan_price import price_in
from detour.text import wrapped


@click.command()
@recipe_argument
@overrides_argument
@workspace_option
@cluster_option("Price the plan with this cluster profile: a name or a file.")
@click.option("--gpus", type=click.IntRange(1), help="GPUs per training; needs --cluster.  [default: a node's]")
@click.option("--when", is_flag=True, help="Emissions by hour of start; needs --cluster and hourly factors.")
@click.option(
    "--factors",
    type=FilePath(path_type=Path),
    help="CSV of hourly grid factors or a forecast.  [default: the profile's]",
)
@json_option
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workspace: Workspace,
    cluster: Cluster | None,
    gpus: int | None,
    when: bool,
    factors: Path | None,
    as_json: bool,
) -> None:
    """Show what a recipe or sweep would do and cost.

    With --cluster, it is also priced. Nothing is written.
    """
    if (when or factors or gpus) and cluster is None:
        raise UserError("--gpus, --when and --factors need --cluster: hours and grams are those of a site")
    planned = detour.plan(recipe, *overrides)
    view = LedgerView(workspace)
    warn(view.warnings)
    stages = planned.shared.stages.values()
    progress = progress_of(view, stages)
    if cluster:
        check_gpus(stages, cluster, gpus)
    price = price_in(view.workspace, view.state, stages, cluster, gpus) if cluster else None
    left = [stage for stage in stages if progress[stage.id] in ("new", "failed")]
    starts = None
    if price and (when or factors):
        starts = when_to_start(workspace, planned, left, price, factors, time.time())
    if as_json:
        content = plan_json(planned, view.workspace, progress, price)
        show_json(content | {"when": when_json(starts)} if starts else content)
        return
    width = columns()
    show(render_plan(planned, progress, width), *failure_lines(workspace, failures_of(workspace, planned.plans), width))
    if price:
        asked = demand_of(planned, left, price)
        show("", render_price(price, width), *shares_lines(planned, left, price))
        show(*(line for text in outlook_lines(outlook(view, asked)) for line in wrapped(text, "", width)))
    if starts:
        show("", *when_lines(planned.name, starts))
