"""Stages that failed permanently in an earlier run: which, why, their dependents, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detour.ledger.workspace import Workspace
from detour.orchestration.failures import Failure
from detour.text import counted, plain, wrapped

SHOWN = 6


def failure_lines(
    workspace: Workspace,
    failures: Sequence[Failure],
    width: int,
    command: str | None = None,
    *,
    retrying: bool = False,
) -> Iterator[str]:
    """At most `width` columns, except for names of chains in commands.

    `command` retries all of them; without one, each chain of the workspace is retried by its name.
    """
    for failure in failures[:SHOWN]:
        yield from wrapped(_failure(failure), "", width)
    if len(failures) > SHOWN:
        yield f"... and {len(failures) - SHOWN:,} more"
    if not failures:
        return
    if retrying:
        yield "  retried now"
        return
    yield "  Left out with their dependents. Retry with:"
    yield from (f"    {line}" for line in ([command] if command else _commands(workspace, failures)))


def _failure(failure: Failure) -> str:
    others = f" and {counted(len(failure.chains) - 1, 'other chain')}" if len(failure.chains) > 1 else ""
    waiting = f" ({counted(failure.dependents, 'dependent')} pending)" if failure.dependents else ""
    return plain(f"failed: {failure.stage.label} of {failure.chains[0]}{others}: {failure.reason}") + waiting


def _commands(workspace: Workspace, failures: Sequence[Failure]) -> list[str]:
    chains = dict.fromkeys(one.retry_chain for one in failures[:SHOWN] if one.retry_chain is not None)
    commands = [workspace.command("retry", chain) for chain in chains]
    is_sweep = len({chain for one in failures for chain in one.chains}) > 1
    return [*commands, "detour submit ... --retry"] if is_sweep or not commands else commands
