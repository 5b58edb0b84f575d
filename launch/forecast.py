"""`detour forecast`: when jobs will start, and how good such forecasts have been."""

from __future__ import annotations

from pathlib import Path

import click

from detour.errors import UserError
from detour.launch.dump_options import dump_options
from detour.launch.options import FilePath, json_option, optional_names_argument, written_workspace_option
from detour.launch.text.forecast import (
    forecasts_json,
    forecasts_lines,
    replay_json,
    replay_lines,
    say_warnings,
    write_outcomes,
)
from detour.launch.text.screen import show, show_json, warn
from detour.ledger.workspace import Workspace
from detour.sacct.reading import Dialect, Dump, read_rows


@click.command()
@optional_names_argument
@click.option(
    "--replay",
    type=FilePath(dir_okay=False, allow_dash=True, path_type=Path),
    help="A dump of sacct: forecast each of its jobs from what was known when it began to wait.",
)
@dump_options
@click.option(
    "--outcomes", "table", type=FilePath(dir_okay=False, path_type=Path), help="Write a CSV file with a row per job."
)
@written_workspace_option
@json_option
def command(
    names: tuple[str, ...],
    replay: Path | None,
    dialect: Dialect,
    table: Path | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Show when jobs will start, and how good such forecasts have been.

    For the chains, sweeps or stages named, or for all. Based on your own past jobs, for which sacct is asked once an
    hour.
    """
    if replay is not None:
        if names:
            raise UserError("--replay is about a dump, not about chains: leave one of them out")
        _replay(read_rows(replay, dialect), table, as_json)
        return
    from detour.orchestration.forecasts import forecast

    made = forecast(workspace, names)
    say_warnings(made)
    if as_json:
        show_json(forecasts_json(made))
    else:
        show(*forecasts_lines(made))


def _replay(dump: Dump, table: Path | None, as_json: bool) -> None:
    from detour.forecasting.replay import outcomes, summary
    from detour.forecasting.waits import waits_of

    waits = waits_of(dump)
    made = list(outcomes(waits))
    replayed = summary(waits, made)
    warn(dump.notes.broken)
    if table is not None:
        write_outcomes(table, made)
    if as_json:
        show_json(replay_json(replayed))
    else:
        show(*replay_lines(replayed))
