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
    command: str = "detour submit ... --retry",
    *,
    by_name: bool = True,
    retrying: bool = False,
) -> Iterator[str]:
    """At most `width` columns, except for commands.

    `command` retries all of them; with `by_name`, each chain of the workspace can also be retried by its name.
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
    yield from (f"    {line}" for line in (_commands(workspace, failures, command) if by_name else [command]))


def _failure(failure: Failure) -> str:
    others = f" and {counted(len(failure.chains) - 1, 'other chain')}" if len(failure.chains) > 1 else ""
    said = plain(f"failed: {failure.stage.label} of {failure.chains[0]}{others}: {failure.reason}")
    return said + pending(failure.dependents)


def pending(dependents: int) -> str:
    """` (2 dependents pending)`, after the reason of a failure."""
    return f" ({counted(dependents, 'dependent')} pending)" if dependents else ""


def _commands(workspace: Workspace, failures: Sequence[Failure], command: str) -> list[str]:
    chains = dict.fromkeys(one.retry_chain for one in failures[:SHOWN] if one.retry_chain is not None)
    commands = [workspace.command("retry", chain) for chain in chains]
    is_sweep = len({chain for one in failures for chain in one.chains}) > 1
    return [*commands, command] if is_sweep or not commands else commands
