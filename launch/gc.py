"""`detour gc`: shows what could be removed from a workspace, and removes it."""

from __future__ import annotations

import sys

import click

from detour.errors import UserError
from detour.launch.options import json_option, written_workspace_option
from detour.launch.text.gc import cleaned_lines, gc_json, removable_lines
from detour.launch.text.screen import columns, say_waiting, show, show_json
from detour.ledger.workspace import Workspace
from detour.orchestration.cleaning import clean, removable


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what could be removed.")
@click.option("--yes", is_flag=True, help="Remove it without asking.")
@click.option("--all", "everything", is_flag=True, help="Show each file and folder.")
@written_workspace_option
@json_option
def command(dry_run: bool, yes: bool, everything: bool, workspace: Workspace, as_json: bool) -> None:
    """Show what no plan, job or pin needs, and remove it.

    Stages of any planned chain stay, with everything they are made of, as does what `detour pin` keeps.
    """
    found = removable(workspace)
    cleaned = None
    if not as_json:
        show(*removable_lines(workspace.root, found, columns(), everything=everything))
    if found and not dry_run and _agreed(yes=yes):
        cleaned = clean(workspace, {one.path for one in found}, say_waiting)
    if as_json:
        show_json(gc_json(found, cleaned))
    elif cleaned is not None:
        show(*cleaned_lines(workspace.root, cleaned, columns()))


def _agreed(*, yes: bool) -> bool:
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("nothing was removed: add --yes to remove it, or --dry-run to only look")
    return click.confirm("Remove all of this?", default=False, err=True)
