"""`detour prices`: every finished stage compared with its estimate, and the basis of the next estimate."""

from __future__ import annotations

import click

from detour.launch.cluster_option import cluster_name_option
from detour.launch.options import json_option, workspace_option
from detour.launch.text.prices import prices_json, render_prices
from detour.launch.text.screen import columns, show, show_json, warn
from detour.ledger.events import ChainPriced
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.selection import known_chains
from detour.pricing.comparison import compare, quotes
from detour.pricing.history import finished_stages

NEWEST = 20


@click.command()
@workspace_option
@cluster_name_option("Only stages that ran under this profile.")
@click.option("--all", "everything", is_flag=True, help=f"Every stage, not just the newest {NEWEST}.")
@json_option
def command(workspace: Workspace, cluster: str | None, everything: bool, as_json: bool) -> None:
    """Compare finished stages with their estimates.

    The next plan is priced from what the ledger has measured; this shows how accurate prices have been so far.
    """
    view = LedgerView(workspace)
    warn(view.warnings)
    finished = [one for one in finished_stages(view.workspace, view.state) if cluster is None or one.cluster == cluster]
    rows = compare(finished, quotes(view.commands(ChainPriced)))
    needed_by = known_chains(view.workspace).needed_by()
    if as_json:
        show_json(prices_json(rows, finished, needed_by))
    elif not rows:
        under = f" under the profile {cluster}" if cluster is not None else ""
        show(f"No stage has finished{under} in {view.workspace.root} yet.")
    else:
        show(render_prices(rows, finished, needed_by, len(rows) if everything else NEWEST, columns()))
