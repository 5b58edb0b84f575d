"""`detour budget`: what each budget has spent and reserved, compared with its pace, and the forecast."""

from __future__ import annotations

from pathlib import Path

import click

from detour.accounting.site import outdated_constants, planned_targets
from detour.budgets.book import Book
from detour.budgets.caps import load_budget, load_budgets
from detour.budgets.reserve import release_submission
from detour.budgets.view import budget_view
from detour.config.roots import SHIPPED
from detour.launch.options import FilePath, json_option, written_workspace_option
from detour.launch.text.budget import LEGEND, budget_json, render_budget
from detour.launch.text.screen import columns, show, show_json, warn
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.accounts import record_accounts
from detour.text import wrapped


@click.command()
@click.argument("file", required=False, type=FilePath(dir_okay=False, path_type=Path))
@written_workspace_option
@click.option(
    "--release",
    "submission",
    metavar="SUBMISSION",
    help="Free what this submission has reserved and will not use.",
)
@json_option
def command(file: Path | None, workspace: Workspace, submission: str | None, as_json: bool) -> None:
    """Show what each budget has spent and reserved.

    Shows the budget in FILE, or all budgets in configs/budgets.
    """
    budgets = [load_budget(file)] if file else load_budgets()
    if submission:
        release_submission(workspace, submission)
    view = LedgerView(workspace)
    warn(record_accounts(view))
    book = Book(view)
    warn(view.warnings)
    warn(outdated_constants(planned_targets(workspace)))
    views = [one for budget in budgets if (one := budget_view(book, budget)) is not None]
    if as_json:
        show_json([budget_json(one) for one in views])
        return
    if not budgets:
        example = SHIPPED / "budgets" / "example.yaml"
        show(f"No budget. Copy {example} to ./configs/budgets, and set its scope and caps.")
    shown = {one.budget.name for one in views}
    show(*(f"{budget.name}: outside its period" for budget in budgets if budget.name not in shown))
    if views:
        width = columns()
        show("\n\n".join(render_budget(one, width) for one in views), "", *wrapped(LEGEND, "", width))
