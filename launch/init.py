"""`detour init`: writes a user's first recipe and cluster profile."""

from __future__ import annotations

from pathlib import Path

import click

from detour.config.starter_files import CLUSTER, RECIPE, start
from detour.launch.options import FilePath
from detour.launch.text.screen import show
from detour.text import pasted


@click.command()
@click.argument("folder", type=FilePath(file_okay=False, path_type=Path), default=Path())
@click.option("--recipe", default=RECIPE, show_default=True, help="The recipe's name.")
@click.option("--cluster", default=CLUSTER, show_default=True, help="The profile's name.")
def command(folder: Path, recipe: str, cluster: str) -> None:
    """Write a recipe and a cluster profile with comments, to start from.

    They are written to FOLDER/configs (by default in the current folder), where they are found by name. Nothing is
    asked, and nothing is overwritten.
    """
    made = start(folder, recipe, cluster)
    width = max(len(str(made.recipe)), len(str(made.cluster)))
    show(f"{made.recipe!s:<{width}}  the recipe", f"{made.cluster!s:<{width}}  the cluster profile")
    show("", "Next:", *(f"  {command}" for command in _next(folder, recipe, cluster)))


def _next(folder: Path, recipe: str, cluster: str) -> list[str]:
    end = ["--"] if str(folder).startswith("-") else []
    go = [] if folder == Path() else [pasted("cd", *end, str(folder))]
    commands = {
        f"detour plan {recipe} --cluster {cluster}": "what it would do and cost",
        f"detour run {recipe}": "all of it, on this machine",
        f"detour doctor --cluster {cluster}": "on a login node: the profile against the site",
    }
    width = max(map(len, commands))
    return [
        *go,
        *(f"{command:<{width}}  # {said}" for command, said in commands.items()),
    ]
