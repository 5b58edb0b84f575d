"""`detour forecast`: when jobs will start, and how good such forecasts have been."""

from __future__ import annotations

from pathlib import Path

import click

from detour.forecasting.replay import outcomes, summary
from detour.forecasting.waits import waits_of
from detour.launch.options import json_option
from detour.launch.text.forecast import replay_json, replay_lines, write_outcomes
from detour.launch.text.screen import show, show_json, warn
from detour.sacct.reading import Dialect, read_rows


@click.command()
@click.option(
    "--replay",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    required=True,
    help="A dump of sacct: forecast each of its jobs from what was known when it began to wait.",
)
@click.option("--skip-broken", is_flag=True, help="Leave out rows of the dump that cannot be read.")
@click.option("--outcomes", "table", type=click.Path(dir_okay=False, path_type=Path), help="A CSV file, a row a job.")
@json_option
def command(replay: Path, skip_broken: bool, table: Path | None, as_json: bool) -> None:
    """Show when jobs will start, and how good such forecasts have been."""
    dump = read_rows(replay, Dialect(skip_broken=skip_broken))
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
