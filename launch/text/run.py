"""What `detour run` shows while it works and when it ends: a live tree on a terminal, otherwise one line per change."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from detour.launch.text.failures import pending
from detour.launch.text.screen import show_progress
from detour.ledger.claims import holder
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.orchestration.local_run import LocalOrder, Ran
from detour.orchestration.local_runner import Refresh
from detour.orchestration.plans import Planned
from detour.text import cells, counted, fitted, format_duration, plain

LOG_TAIL_LINES = 15


@contextmanager
def display(workspace: Workspace, planned: Planned, *, live: bool) -> Iterator[Refresh]:
    """The live tree begins with the first refresh, so that earlier messages stay above it."""
    if not live:
        yield Lines(workspace, planned.labels).refresh
        return
    from detour.launch.text.live import Show, live_view

    monitor = Monitor(workspace)
    with ExitStack() as stack:
        view: Show | None = None

        def refresh(_running: Collection[str]) -> None:
            nonlocal view
            if view is None:
                view = stack.enter_context(live_view())
            look = monitor.look(planned.chains)
            with suppress(OSError):  # a terminal that was closed must not stop the work
                view(look)

        yield refresh


class Lines:
    """One line when a stage starts and one when it ends: for logs, pipes and CI."""

    def __init__(self, workspace: Workspace, labels: Mapping[str, str]) -> None:
        self._workspace, self._labels = workspace, labels
        self._width = max(map(cells, labels.values()), default=0)
        self._started_s: dict[str, float] = {}
        self._waits_for: set[str] = set()

    def refresh(self, running: Collection[str]) -> None:
        now_s = time.monotonic()
        for stage_id in [stage_id for stage_id in self._started_s if stage_id not in running]:
            elapsed = format_duration(now_s - self._started_s.pop(stage_id))
            has_failed = self._workspace.has_failed(stage_id)
            ending = "done" if self._workspace.is_done(stage_id) else "failed" if has_failed else "stopped"
            show_progress(f"{fitted(self._labels[stage_id], self._width)}  {ending} after {elapsed}")
        for stage_id in running:
            if stage_id not in self._started_s:
                self._started_s[stage_id] = now_s
                show_progress(f"{fitted(self._labels[stage_id], self._width)}  started")
        if not running:
            self._say_what_is_awaited()

    def _say_what_is_awaited(self) -> None:
        for stage_id, label in self._labels.items():
            if stage_id not in self._waits_for and (held := holder(self._workspace, stage_id)) is not None:
                self._waits_for.add(stage_id)
                show_progress(f"{fitted(label, self._width)}  awaited: {held.process or held.owner} runs it")


def done_lines(order: LocalOrder, *, already: bool) -> Iterator[str]:
    planned, workspace = order.planned, order.workspace
    stages = f"everything up to {order.until} is" if order.until else f"all {counted(len(order.stages), 'stage')} are"
    yield (
        f"{planned.name}: nothing to do, {stages} done in {workspace.root}"
        if already
        else f"{planned.name}: {stages} done."
    )
    if order.until == "prepare":
        for stage in order.stages:
            yield from corpus_lines(workspace.output(stage.id))
    yield f"Report: {workspace.command('report', *planned.chains)}"


def corpus_lines(output: Path) -> Iterator[str]:
    """What became of the rows of each source of a prepared corpus."""
    from detour.reporting.data import SOURCE_COUNTS
    from detour.reporting.outputs import CORPUS_INDEX, read_json, source_counts

    yield f"{output / CORPUS_INDEX}:"
    for source in source_counts(read_json(output / CORPUS_INDEX)):
        counts = [f"{words} {source.counts[key]:,}" for key, words in SOURCE_COUNTS.items() if source.counts[key]]
        yield f"  {plain(source.name)}: {', '.join(counts)}"


def stopped_text(ran: Ran) -> str:
    of_all = f"{len(ran.left)} of {counted(len(ran.order.stages), 'stage')}"
    lines = [f"stopped; {of_all} {'is' if len(ran.left) == 1 else 'are'} left. The same command resumes."]
    for stage in ran.left:
        if (held := holder(ran.order.workspace, stage.id)) is not None:
            lines.append(f"{ran.order.planned.labels[stage.id]} goes on: {held.process or held.owner} runs it.")
    return "\n".join(lines)


def failures_text(ran: Ran) -> str:
    """Each failed stage with its reason and the end of its log, and what to do."""
    labels, lines = ran.order.planned.labels, []
    for failure in ran.failures:
        lines.append(f"{labels[failure.stage.id]} failed: {failure.reason}{pending(failure.dependents)}")
        if failure.log is not None and failure.log.exists():
            lines.append(f"the end of {failure.log}:")
            lines += [f"  {line}" for line in failure.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]]
    lines.append("`detour run` again resumes; add --retry for a permanently failed stage, once its cause is fixed.")
    return "\n".join(lines)
