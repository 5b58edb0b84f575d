"""`detour report`: what was trained, what it cost and what came out, as one page or as data."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import click

from detour.accounting.energy import Site
from detour.accounting.site import site_of
from detour.config.loading import available_clusters, load_cluster
from detour.errors import UserError
from detour.files import write_atomic
from detour.launch.options import json_option, workspace_option
from detour.ledger.workspace import Workspace
from detour.reporting.build import SiteOf, build_report
from detour.reporting.html import ledes, render_html

DEFAULT_PAGE = Path("report.html")


@click.command(help="Write the report of one or several chains.")
@click.argument("chains", nargs=-1, metavar="[CHAIN]...")
@workspace_option
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="The page to write.  [default: report.html]"
)
@click.option("--cluster", help="Take PUE, grid factor and power from this profile, wherever the jobs ran.")
@json_option
def command(
    chains: tuple[str, ...], workspace: Path | None, out: Path | None, cluster: str | None, as_json: bool
) -> None:
    """All chains of the workspace when none is named; several are set side by side, shared work counted once."""
    report = build_report(Workspace.find(workspace), chains, profile_sites(cluster), time.time())
    if as_json:
        click.echo(report.to_json(), nl=False)
    if out is None and as_json:
        return
    page = out or DEFAULT_PAGE
    try:
        write_atomic(page, render_html(report))
    except OSError as error:
        raise UserError(f"{page}: cannot be written ({error.strerror}); --out names another place") from error
    if not as_json:
        for line in ledes(report):
            click.echo(line)
        for warning in report.warnings:
            click.echo(f"Mind: {warning}")
        click.echo(f"The page: {page}")


def profile_sites(cluster: str | None) -> SiteOf:
    """Constants by the profile's name that an attempt recorded, or all from `cluster`, a name or a file.

    Recorded names come from journals, so they are only looked up among the profiles there are, never opened as paths.
    """
    chosen = site_of(load_cluster(cluster)) if cluster else None

    @cache
    def site(name: str | None) -> Site:
        if chosen is not None:
            return chosen
        if name is None or name not in available_clusters():
            return Site(name or "an unknown place")
        return site_of(load_cluster(name))

    return site
