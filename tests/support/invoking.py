"""Calls a verb as a user does, in this process."""

from __future__ import annotations

import click
from click.testing import CliRunner, Result

from detour.errors import DetourError


def invoke(command: click.Command, *arguments: object) -> Result:
    """A message to the user is the result's `exception`; any other exception is raised."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit | DetourError):
        raise result.exception
    return result
