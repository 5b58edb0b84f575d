"""The `detour` command: finds the verb, imports only that verb's module, and turns errors into one message.

Verbs are listed here with their one-line help, so that `detour --help` imports none of them; a test holds each
line against the verb's own.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

from detour.imports import uncollected
from detour.launch.endings import DEBUG, ending
from detour.launch.text.screen import leave_closed_pipe, say, speak_any_locale

VERBS = {
    "plan": "Show what a recipe or a sweep would do and what it would cost.",
    "run": "Run a recipe or a sweep on this machine.",
    "submit": "Submit what is missing of a recipe or a sweep to Slurm, exactly once.",
    "cancel": "Cancel a chain, or a stage with its dependents.",
    "retry": "Resubmit failed stages and damaged outputs, with their dependents.",
    "hold": "Hold a chain's pending jobs.",
    "release": "Release a chain's held jobs.",
    "adopt": "Record jobs of this workspace that its ledger does not know.",
    "status": "Show chains, their stages and what they have used so far.",
    "budget": "Show what is spent and reserved of each budget.",
    "prices": "Compare finished stages with their estimates.",
    "report": "Write the report of one or several chains.",
    "clusters": "List the cluster profiles, or show one with its sources.",
    "doctor": "Check a cluster profile against the live site, and this environment.",
    "schema": "Print the JSON Schema of recipes, or a table of every key.",
}


GC_THRESHOLD = 50_000
"""New objects between two garbage collections; most verbs end before the first."""


class Verbs(click.Group):
    """A group whose commands are modules of `launch`, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        return _imported(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="detour", prog_name="detour")
def detour() -> None:
    """Encoder pretraining with a causal detour, as chains of jobs.

    \b
    Exit codes:
      0    done
      1    a bug
      2    bad input: correct it and run again
      3    a stage failed
      4    over budget: nothing was submitted
      5    Slurm did not answer, or did not do as ordered
      130  interrupted
    """


def _imported(verb: str) -> click.Command:
    with uncollected():
        command: click.Command = import_module(f"detour.launch.{verb}").command
    gc.set_threshold(GC_THRESHOLD)
    return command


def main() -> None:
    """Entry point; whatever goes wrong ends in one message and a documented exit code."""
    speak_any_locale()
    try:
        sys.exit(detour.main(prog_name="detour", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        leave_closed_pipe()
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        _end(error)
    except (KeyboardInterrupt, click.Abort):
        _end(KeyboardInterrupt())


def _end(error: BaseException) -> NoReturn:
    message, exit_code = ending(error)
    say(f"detour: {message}")
    sys.exit(exit_code)
