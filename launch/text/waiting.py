"""The lines of `detour wait`: chains whose state changes, and how the wait ended."""

from __future__ import annotations

from detour.launch.text.screen import say, show
from detour.monitoring.status import Status
from detour.monitoring.waiting import Verdict, verdict
from detour.text import counted, plain

_WORDS: dict[Verdict, str] = {
    "done": "all stages are done",
    "stopped": "stages are left, and none of them is running or pending",
    "going on": "the timeout is over, and stages are still running or pending",
}
_FAILED_FIRST = "a stage has failed, and others are still running or pending"


def say_changes(before: Status | None, status: Status) -> None:
    """Print one line for each chain whose state differs from the previous look."""
    known = {chain.name: chain.state for chain in before.chains} if before else {}
    for chain in status.chains:
        if known.get(chain.name) != chain.state:
            say(plain(f"{chain.name}: {chain.state}{f', {chain.now}' if chain.now else ''}"))


def say_outcome(said: Verdict, status: Status) -> None:
    failed_first = said == "stopped" and verdict(status.chains) == "going on"
    show(f"{counted(len(status.chains), 'chain')}: {_FAILED_FIRST if failed_first else _WORDS[said]}")
    for chain in status.chains:
        row = chain.worst
        if row is not None and row.needs_person and row.next_step:
            show(plain(f"{chain.name}: {row.label} {row.state}; {row.next_step}"))
