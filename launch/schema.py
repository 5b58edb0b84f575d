"""`detour schema`: what a recipe may contain, for editors (JSON Schema) and for people (tables)."""

from __future__ import annotations

import click

from detour.config.schema import recipe_json_schema
from detour.launch.text.screen import show, show_json


@click.command()
@click.option("--markdown", is_flag=True, help="Tables of all keys, as in docs/recipes.md.")
@click.option("--status", "of_status", is_flag=True, help="The schema of `detour status --json`.")
def command(markdown: bool, of_status: bool) -> None:
    """Print the JSON Schema of recipes, or a table of every key."""
    if of_status and markdown:
        raise click.UsageError("--markdown has the keys of recipes: leave it out, or --status.")
    if of_status:
        from detour.monitoring.schema import status_schema

        show_json(status_schema())
        return
    if markdown:
        from detour.config.reference import recipe_reference

        show(recipe_reference().rstrip("\n"))
        return
    show_json(recipe_json_schema())
