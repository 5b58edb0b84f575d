"""`detour report`: what was trained, what it cost and what came out, as one page or as data."""

from __future__ import annotations

from pathlib import Path

import click

import detour
from detour.errors import UserError
from detour.files import write_atomic
from detour.launch.options import json_option, optional_names_argument, workspace_option
from detour.launch.text.screen import show, warn
from detour.ledger.workspace import Workspace
from detour.planning.selection import select_chains
from detour.reporting.html import ledes, render_html

DEFAULT_PAGE = Path("report.html")


@click.command()
@optional_names_argument
@workspace_option
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The page to write.  [default: report.html]"
)
@click.option("--cluster", help="Take PUE, grid factor and power from this profile, wherever the jobs ran.")
@json_option
def command(names: tuple[str, ...], workspace: Workspace, out: Path | None, cluster: str | None, as_json: bool) -> None:
    """Write the report of one or several chains.

    All chains of the workspace when none is named; several are set side by side, shared work counted once.
    """
    report = detour.report(*select_chains(workspace, names), workspace=workspace.root, cluster=cluster)
    if as_json:
        show(report.to_json_bytes().decode().rstrip("\n"))
    if out is None and as_json:
        return
    page = out or DEFAULT_PAGE
    try:
        write_atomic(page, render_html(report))
    except OSError as error:
        raise UserError(f"{page}: cannot be written ({error.strerror}); choose another file with --out") from error
    if not as_json:
        show(*ledes(report))
        warn(report.warnings)
        show(f"Report written to {page}")
