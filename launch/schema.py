"""`detour schema`: the JSON Schema by which an editor completes and checks recipes."""

from __future__ import annotations

import json

import click

from detour.recipe.loading import recipe_json_schema


@click.command(help="Print the JSON Schema of recipes, for editors.")
def command() -> None:
    click.echo(json.dumps(recipe_json_schema(), indent=1, ensure_ascii=False))
