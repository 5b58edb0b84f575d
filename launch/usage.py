"""`detour usage`: who used what, from any dump of Slurm's accounting or from sacct itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from detour.launch.dump_options import dump_options
from detour.launch.options import FilePath, json_option
from detour.launch.text.screen import columns, say, show, show_json
from detour.launch.text.usage import render_usage, usage_csv, usage_json, usage_notes
from detour.sacct.reading import Dialect
from detour.scheduler.commands import Slurm
from detour.times import zone_of
from detour.usage.compute import count_files, count_live
from detour.usage.counting import Counting
from detour.usage.options import bounds_s, only_of, tables_of
from detour.usage.tally import USUAL, Question


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=FilePath(dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--by", multiple=True, metavar="TABLE,...", help="Tables, such as month,user, or month+user for one by both."
)
@click.option("--since", metavar="DATE", help="Start with this day, month, year or time.")
@click.option("--until", metavar="DATE", help="End with this day, month or year, or at this time.")
@click.option(
    "--count",
    "counting",
    type=click.Choice([one.value for one in Counting]),
    default="split",
    show_default=True,
    help="Periods of an attempt's hours: split by the second, or all in one.",
)
@click.option("--only", multiple=True, metavar="FIELD=VALUE", help="Only these jobs, such as user=ada.")
@click.option(
    "--time-zone", metavar="ZONE", default="UTC", show_default=True, help="Zone in which days and months begin."
)
@click.option("--times-in", metavar="ZONE", help="The zone of the dump's times.  [default: --time-zone]")
@dump_options
@click.option("--user", "users", metavar="NAME", multiple=True, help="Ask sacct about this user instead of yourself.")
@click.option("--all-users", is_flag=True, help="Ask sacct about everyone.")
@click.option("--clusters", metavar="NAME,...", help="Ask sacct about these Slurm clusters, not the login nodes' own.")
@click.option("--all", "everything", is_flag=True, help="All lines of each table.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the tables as CSV.")
@json_option
def command(
    files: tuple[Path, ...],
    by: tuple[str, ...],
    since: str | None,
    until: str | None,
    counting: str,
    only: tuple[str, ...],
    time_zone: str,
    times_in: str | None,
    dialect: Dialect,
    users: tuple[str, ...],
    all_users: bool,
    clusters: str | None,
    everything: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Sum jobs, hours and waits from an accounting dump, or from sacct.

    FILE is the output of `sacct --parsable2 --allocations --duplicates`, a table with a header published by a centre,
    or `-` for standard input; it may be compressed. Without FILE, sacct is asked once, for your own jobs since --since.
    """
    zone = zone_of(time_zone)
    question = Question(
        tables_of(by) or USUAL, zone, Counting(counting), *bounds_s(since, until, zone), only=only_of(only)
    )
    dialect = replace(dialect, time_zone=zone_of(times_in) if times_in else zone)
    slurm = Slurm(cluster=clusters)
    counted = count_files(files, dialect, question) if files else count_live(slurm, question, users, everyone=all_users)
    say(*usage_notes(counted))
    if as_json:
        show_json(usage_json(counted))
    elif as_csv:
        show(*usage_csv(counted))
    else:
        show(*render_usage(counted, columns(), everything=everything))
