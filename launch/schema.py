"""`detour schema`: what a recipe may hold, for editors (JSON Schema) and for people (tables)."""

from __future__ import annotations

import json

import click

from detour.config.loading import recipe_json_schema


@click.command(help="Print the JSON Schema of recipes, for editors; or every key, for people.")
@click.option("--markdown", is_flag=True, help="Tables of all keys, as in docs/recipes.md.")
def command(markdown: bool) -> None:
    if markdown:
        from detour.config.reference import recipe_reference

        click.echo(recipe_reference(), nl=False)
        return
    click.echo(json.dumps(recipe_json_schema(), indent=1, ensure_ascii=False))
