"""`detour completion`: prints the script with which a shell completes verbs and names."""

from __future__ import annotations

import click

from detour.launch.completing import SHELLS, script
from detour.launch.text.screen import show


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script with which a shell completes verbs and names."""
    show(script(shell))
