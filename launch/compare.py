"""`detour compare`: whether models differ, and whether this number of seeds could have shown it."""

from __future__ import annotations

from pathlib import Path

import click

from detour.launch.options import FilePath, json_option, metric_option, workspace_option
from detour.launch.text.compare import FORMATS, rendered
from detour.launch.text.screen import columns, show, warn
from detour.ledger.workspace import Workspace
from detour.output_files import write_output
from detour.statistics.sources import compare_sources


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@workspace_option
@click.option("--against", metavar="MODEL", help="Compare each model with this one.  [default: all pairs]")
@metric_option
@click.option("--common", is_flag=True, help="Only tasks and seeds that all models have.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--out", "-o", type=FilePath(dir_okay=False, path_type=Path), help="Write to this file.")
@json_option
def command(
    sources: tuple[str, ...],
    workspace: Workspace,
    against: str | None,
    metric: str | None,
    common: bool,
    form: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compare models by their scores over seeds and tasks.

    SOURCE is a chain, a sweep, a pattern over their names, or a file of scores (CSV, JSON, Markdown table). A file has
    the columns model, task, seed, metric and value, or is a table of models by tasks. See docs/comparing.md.
    """
    found = compare_sources(workspace, sources, metric=metric, against=against, common=common)
    text = rendered(found, "json" if as_json else form, columns())
    if out is None:
        show(text.rstrip("\n"))
    else:
        write_output(out, text, "--out")
    warn(f"missing: {gap}" for gap in found.gaps)
