"""Start stages on this machine once their inputs are done and cores are free, and collect how their jobs ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from detour.handlers import handling
from detour.ledger.claims import holder
from detour.ledger.events import JobAccounted
from detour.ledger.journal import Journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import failure_reason
from detour.planning.order import startable
from detour.planning.stage import Stage
from detour.scheduler.local import LocalJob, start

POLL_S = 0.25
Refresh = Callable[[Collection[str]], None]
"""Called often, with the ids of the running stages."""


@dataclass(slots=True)
class LocalRunner:
    """Starts stages as their inputs are done and cores are free, until nothing more can be started."""

    workspace: Workspace
    stages: Sequence[Stage]
    cores: int
    gpus: Sequence[str]
    """As in CUDA_VISIBLE_DEVICES."""
    profile: str | None = None
    """Name of the profile that describes this machine."""
    journal: Journal | None = None
    """Where the resources of each job are recorded."""
    running: dict[str, LocalJob] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Stage id -> why it failed."""
    logs: dict[str, Path] = field(default_factory=dict)
    started_s: dict[str, float] = field(default_factory=dict)
    """Stage id -> when its last job was started, in seconds since the epoch."""
    stopping: bool = False

    def run(self, refresh: Refresh) -> None:
        while self.step():
            refresh(self.running)
            time.sleep(POLL_S)
        refresh(self.running)

    def step(self) -> bool:
        """Collect what has ended and start what can start. Returns False when there is nothing left to wait for."""
        for stage_id, job in list(self.running.items()):
            if not job.is_running():
                del self.running[stage_id]
                self._account(stage_id, job)
                self._collect(stage_id, job)
        done = {stage.id for stage in self.stages if self.workspace.is_done(stage.id)}
        elsewhere = False
        if not self.stopping:
            blocked = {*self.running, *self.failed}
            for stage in startable(self.stages, done, blocked):
                if holder(self.workspace, stage.id) is not None:
                    elsewhere = True
                elif self._free_cores() >= self._cores(stage) or not self.running:
                    self._start(stage)
        return bool(self.running) or elsewhere

    def stop(self) -> None:
        """Ask every job to save and end; `run` returns once all have."""
        self.stopping = True
        for job in self.running.values():
            job.ask_to_stop()

    def _cores(self, stage: Stage) -> int:
        """Fine-tunings and summaries take one core each and run side by side; everything else takes all cores."""
        return 1 if stage.kind in ("evaluate", "summarize") else self.cores

    def _free_cores(self) -> int:
        stages = {stage.id: stage for stage in self.stages}
        return self.cores - sum(self._cores(stages[stage_id]) for stage_id in self.running)

    def _start(self, stage: Stage) -> None:
        tasks = max(1, len(self.gpus)) if stage.kind == "pretrain" else 1
        self.started_s[stage.id] = time.time()
        job = start(
            self.workspace.root,
            [stage.id],
            self.workspace.stage(stage.id) / "logs",
            tasks=tasks,
            gpus=self._gpus(stage),
            threads=self._cores(stage),
        )
        self.running[stage.id] = job
        self.logs[stage.id] = job.log

    def _account(self, stage_id: str, job: LocalJob) -> None:
        """Record the job from start to end as seen by this command: longer than its own journal shows."""
        if self.journal is None:
            return
        started_s, (stage,) = self.started_s[stage_id], [stage for stage in self.stages if stage.id == stage_id]
        event = JobAccounted(
            source="local executor",
            submit_s=started_s,
            start_s=started_s,
            elapsed_s=time.time() - started_s,
            gpus=len(self._gpus(stage)),
            nodes=1,
            profile=self.profile,
            stages=[stage_id],
        )
        self.journal.append(event, job=job.id)

    def _gpus(self, stage: Stage) -> Sequence[str]:
        return self.gpus if stage.kind == "pretrain" else self.gpus[:1]

    def _collect(self, stage_id: str, job: LocalJob) -> None:
        """Record why the stage failed, unless it succeeded or another command is running it."""
        if self.workspace.is_done(stage_id) or self.stopping or holder(self.workspace, stage_id) is not None:
            return
        known = LedgerView(self.workspace).state.stage(stage_id)
        last = known.last_attempt
        is_anothers = (
            last is not None and last.executor != job.id and (last.started_s or 0.0) >= self.started_s[stage_id]
        )
        if self.workspace.has_failed(stage_id):
            self.failed[stage_id] = failure_reason(self.workspace, stage_id)
        elif not is_anothers:
            ours = known.reason if last and last.executor == job.id else None
            self.failed[stage_id] = ours or "its process was killed"


def stop_on_ctrl_c(runner: LocalRunner, on_stop: Callable[[], None]) -> AbstractContextManager[None]:
    """The first Ctrl-C or SIGTERM lets the jobs save and end; a second one exits at once, without waiting for them.

    So does a terminal that closes, unless `nohup` has the command go on without it.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def ask(_number: int, _frame: object) -> None:
        if runner.stopping:
            raise KeyboardInterrupt
        on_stop()
        runner.stop()

    return handling(numbers, ask)
