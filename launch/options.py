"""Options that several verbs share, so that they read and behave the same everywhere."""

from __future__ import annotations

from pathlib import Path

import click

workspace_option = click.option(
    "--workspace",
    "-w",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where results live.  [default: $DETOUR_WORKSPACE or ./workspace]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
recipe_argument = click.argument("recipe", type=click.Path(path_type=Path))
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
over_budget_option = click.option(
    "--over-budget", "why_over", metavar="WHY", help="Go past a budget's hard cap; the reason is recorded."
)
stage_option = click.option("--stage", help="One stage, by id or label, with all that needs it.")
