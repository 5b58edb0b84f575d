"""`detour report`: what was trained, what it used and the results, as a page, as tables or as data."""

from __future__ import annotations

import time
from pathlib import Path

import click

import detour
from detour.config.cluster import Cluster
from detour.config.project import load_project
from detour.imports import uncollected
from detour.launch.cluster_option import cluster_option
from detour.launch.options import FilePath, json_option, optional_names_argument, workspace_option
from detour.launch.text.screen import columns, show, warn
from detour.ledger.workspace import Workspace
from detour.rendering.formats import json_report
from detour.rendering.summaries import summary_lines
from detour.rendering.writing import FORMATS, Format, default_place, format_for, write_report
from detour.reporting.period import period_of
from detour.text import wrapped
from detour.usage.site_export import site_figure_of


@click.command()
@optional_names_argument
@workspace_option
@click.option("--out", "-o", type=FilePath(path_type=Path), help="File or folder to write.  [default: ./report.html]")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(FORMATS),
    help="Format of the report; csv and all write folders.  [default: as the file's name says]",
)
@click.option("--since", metavar="DAY", help="Start with this day, month or year; 30d is thirty days ago.")
@click.option("--until", metavar="DAY", help="End with this day, month or year.")
@click.option("--period", metavar="PERIOD", help="A year, quarter, month or day: 2026, 2026-Q3, 2026-07.")
@click.option(
    "--time-zone", metavar="ZONE", help="Zone in which days and months begin.  [default: the project's, or UTC]"
)
@click.option(
    "--project",
    type=FilePath(dir_okay=False, path_type=Path),
    help="The project that the report is for.  [default: configs/project.yaml]",
)
@click.option(
    "--site-figure", metavar="TEXT", help="Usage according to the site, such as '1234.5 GPU-h', or a file with it."
)
@click.option("--site-account", metavar="NAME", help="The account in the site's file, if it has several.")
@cluster_option("Take PUE, grid factor and power from this profile, wherever the jobs ran.")
@json_option
def command(
    names: tuple[str, ...],
    workspace: Workspace,
    out: Path | None,
    wanted: Format | None,
    since: str | None,
    until: str | None,
    period: str | None,
    time_zone: str | None,
    project: Path | None,
    site_figure: str | None,
    site_account: str | None,
    cluster: Cluster | None,
    as_json: bool,
) -> None:
    """Write the report of chains, of a sweep, or of the workspace.

    Covers all chains if none is named. Work that several chains share is counted once.
    """
    by = load_project(project)
    when = period_of(period, since, until, time.time(), time_zone or (by.time_zone if by else "UTC"))
    with uncollected():  # objects stay alive: collecting would take half of the time
        report = detour.report(
            *names,
            workspace=workspace.root,
            cluster=cluster,
            period=when,
            project=by,
            site_figure=site_figure_of(site_figure, site_account),
        )
    if as_json:
        show(json_report(report).decode().rstrip("\n"))
    if out is None and wanted is None and as_json:
        return
    chosen = wanted or format_for(out)
    written = write_report(report, chosen, out or default_place(chosen))
    if not as_json:
        show(*(line for summary in summary_lines(report) for line in wrapped(summary, "", columns())))
        warn(report.warnings)
        show(f"Report written to {written}")
