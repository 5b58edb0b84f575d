"""`detour logs`: the output of a stage's job, by attempt and rank."""

from __future__ import annotations

from contextlib import suppress

import click

from detour.launch.options import json_option, names_argument, workspace_option
from detour.launch.text.logs import log_heading, log_json, log_line
from detour.launch.text.screen import say, show, show_json, show_while_read
from detour.ledger.workspace import Workspace
from detour.orchestration.log_following import awaited, followed, next_of
from detour.orchestration.logs import LogPart, log_part


@click.command()
@names_argument
@click.option("--follow", "-f", is_flag=True, help="Follow it as it is written, until the stage has ended.")
@click.option("--err", is_flag=True, help="Standard error, if it has its own file; jobs write both to one.")
@click.option("--attempt", type=int, help="Which attempt; -1 is the one before the last.  [default: the last]")
@click.option("--rank", type=click.IntRange(0), default=0, help="Which of several processes.  [default: 0]")
@click.option("--lines", "-n", "last", type=click.IntRange(1, 10**9), help="Only the last lines.")
@click.option("--path", "only_path", is_flag=True, help="Print only the file's path.")
@workspace_option
@json_option
def command(
    names: tuple[str, ...],
    follow: bool,
    err: bool,
    attempt: int | None,
    rank: int,
    last: int | None,
    only_path: bool,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Print the log of a stage's last attempt, or of another.

    For a chain, the log of the stage that was active last. With --follow, waits for the log and continues with those of
    later stages.
    """
    try:
        part = _part(workspace, names, attempt, rank, err=err, follow=follow)
    except KeyboardInterrupt:
        return
    if only_path:
        show(str(part.path))
        return
    if last is not None:
        part = part.from_last(last)
    if as_json:
        show_json(log_json(part, list(part.lines())))
        return
    say(log_heading(part))
    if not follow:
        show_while_read(map(log_line, part.lines()))
        return
    with suppress(KeyboardInterrupt):
        _follow(workspace, names, part)


def _follow(workspace: Workspace, names: tuple[str, ...], part: LogPart) -> None:
    following: LogPart | None = part
    while following is not None:
        lines = followed(workspace, following, lambda newer: say(log_heading(newer)))
        if not show_while_read(map(log_line, lines)):
            return
        following = next_of(workspace, names, following, lambda: say("waiting: for the log of the next stage"))
        if following is not None:
            say(log_heading(following))


def _part(
    workspace: Workspace, names: tuple[str, ...], attempt: int | None, rank: int, *, err: bool, follow: bool
) -> LogPart:
    if not follow:
        return log_part(workspace, names, attempt, rank, err=err)
    return awaited(workspace, names, attempt, rank, err=err, on_wait=lambda why: say(f"waiting: {why}"))
