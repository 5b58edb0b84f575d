"""What `detour run` shows while it waits: a live tree on a terminal, one line a change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import click

from detour.config.quantities import format_duration
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.orchestration.planning import Planned

Refresh = Callable[[Collection[str]], None]
"""Called often, with the ids of the stages that run."""


@contextmanager
def display(workspace: Workspace, planned: Planned, *, live: bool) -> Iterator[Refresh]:
    if not live:
        yield Lines(workspace, planned.labels).refresh
        return
    from rich.console import Console

    from detour.monitoring.live import live_view

    monitor = Monitor(workspace)
    with live_view(Console()) as show:
        yield lambda _running: show(monitor.look(planned.chains))


class Lines:
    """One line when a stage starts and one when it ends: for logs, pipes and CI."""

    def __init__(self, workspace: Workspace, labels: Mapping[str, str]) -> None:
        self._workspace, self._labels = workspace, labels
        self._started_s: dict[str, float] = {}

    def refresh(self, running: Collection[str]) -> None:
        now_s = time.monotonic()
        for stage_id in [stage_id for stage_id in self._started_s if stage_id not in running]:
            took = format_duration(now_s - self._started_s.pop(stage_id))
            ending = "done" if self._workspace.is_done(stage_id) else "stopped"
            click.echo(f"{self._labels[stage_id]:<36} {ending} after {took}")
        for stage_id in running:
            if stage_id not in self._started_s:
                self._started_s[stage_id] = now_s
                click.echo(f"{self._labels[stage_id]:<36} started")
