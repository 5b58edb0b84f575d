"""`detour run`: carries a recipe or a sweep through on this machine; the waiting command keeps the dependencies."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from detour.budgets.caps import load_budgets
from detour.budgets.reserve import asked_for, facts_of, reserving
from detour.config.loading import load_cluster
from detour.config.models import Recipe
from detour.errors import StageFailed, UserError
from detour.evaluation.supported import unsupported_tasks
from detour.launch.options import over_budget_option, overrides_argument, recipe_argument, written_workspace_option
from detour.launch.text.price import price_plan
from detour.launch.text.run import Refresh, display
from detour.ledger.claims import holder
from detour.ledger.journal import Journal
from detour.ledger.state import load_state
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from detour.orchestration.failures import failed_stages, failure_reason, failures_in_words, with_dependants
from detour.orchestration.planning import Planned, load_plans
from detour.planning.order import downstream, startable
from detour.planning.stage import Stage
from detour.pricing.history import LedgerHistory, finished_stages
from detour.scheduler.local import LocalJob, start

POLL_S = 0.25
INTERRUPTED_EXIT_CODE = 130
LOG_TAIL_LINES = 15


@click.command(help="Carry a recipe or a sweep through on this machine.")
@recipe_argument
@overrides_argument
@written_workspace_option
@click.option("--jobs", "slots", type=click.IntRange(1), help="CPU cores to use.  [default: all of this machine]")
@click.option("--gpus", type=click.IntRange(0), help="GPUs a training uses.  [default: all of this machine]")
@click.option("--retry", is_flag=True, help="Try stages again that failed for good.")
@click.option("--cluster", default="local", show_default=True, help="Profile with this machine's PUE and grid factor.")
@over_budget_option
@click.option("--quiet", is_flag=True, help="No live display; one line a stage.")
def command(
    recipe: Path,
    overrides: tuple[str, ...],
    workspace: Path | None,
    slots: int | None,
    gpus: int | None,
    retry: bool,
    cluster: str,
    why_over: str | None,
    quiet: bool,
) -> None:
    """Run what is missing; Ctrl-C stops cleanly, and the same command goes on from there."""
    planned = load_plans(recipe, overrides)
    check_runnable(planned.recipes, planned.shared.missing)
    place, stages = Workspace.find(workspace), tuple(planned.shared.stages.values())
    left = [stage for stage in stages if not place.is_done(stage.id)]
    if not left:
        click.echo(f"{planned.name}: nothing to do, all {len(stages)} stages are done in {place.root}")
        click.echo(f"The report: detour report {' '.join(planned.chains)}")
        return
    place.create()
    failed = [] if retry else failed_stages(place, stages)
    for line in failures_in_words(place, planned.plans, failed, "detour run ... --retry"):
        click.echo(line)
    left_out = with_dependants(stages, failed)
    left = [stage for stage in left if stage.id not in left_out]
    profile, gpus = load_cluster(cluster), visible_gpus() if gpus is None else gpus
    history = LedgerHistory(finished_stages(place, load_state(place)[0]), profile.name)
    prices = price_plan(left, profile, history, gpus).prices
    facts = facts_of(profile, None, None if planned.sweep else planned.name, planned.sweep)
    asked = asked_for(left, prices, profile, facts)
    runner = Runner(place, planned, stages, slots or len(os.sched_getaffinity(0)), gpus)
    runner.failed = {stage.id: failure_reason(place, stage.id) for stage in failed}
    live = not quiet and sys.stdout.isatty()
    with (
        Journal.open(place, f"command-{os.getpid()}") as journal,
        reserving(place, journal, load_budgets(), asked, why_over) as held,
    ):
        for remark in held.remarks:
            click.echo(f"note: {remark}")
        write_chains(place, planned.plans, profile, prices)
        if retry:
            for stage in stages:
                place.failure(stage.id).unlink(missing_ok=True)
        with _stop_on_ctrl_c(runner), display(place, planned, live=live) as refresh:
            runner.carry(refresh)
    _conclude(runner)


def check_runnable(recipes: Sequence[Recipe], missing: Sequence[str]) -> None:
    """Raises UserError for what would only fail hours later: files that are not there, tasks nobody can evaluate."""
    if missing:
        raise UserError("cannot run, because of files that are not here:\n  " + "\n  ".join(missing))
    for benchmark in {id(recipe.benchmark): recipe.benchmark for recipe in recipes}.values():
        if benchmark and (unsupported := unsupported_tasks(benchmark)):
            reasons = "; ".join(f"{task}: {reason}" for task, reason in unsupported.items())
            raise UserError(f"benchmark {benchmark.name} cannot be evaluated: {reasons}")


def visible_gpus() -> int:
    """GPUs of this machine as its driver lists them; asked without torch."""
    return len(list(Path("/proc/driver/nvidia/gpus").glob("*")))


@dataclass(slots=True)
class Runner:
    """Starts stages as their inputs get done and cores are free, until nothing more can be started."""

    workspace: Workspace
    planned: Planned
    stages: Sequence[Stage]
    """Each once, whichever chains need it."""
    cores: int
    gpus: int
    running: dict[str, LocalJob] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Stage id -> why."""
    logs: dict[str, Path] = field(default_factory=dict)
    stopping: bool = False

    def carry(self, refresh: Refresh) -> None:
        while self.step():
            refresh(self.running)
            time.sleep(POLL_S)
        refresh(self.running)

    def step(self) -> bool:
        """Collect what ended, start what can start; False when there is nothing left to wait for."""
        for stage_id, job in list(self.running.items()):
            if not job.is_running():
                del self.running[stage_id]
                self._collect(stage_id)
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
        """Ask every job to save and end; `carry` returns once they have."""
        self.stopping = True
        for job in self.running.values():
            job.ask_to_stop()

    def _cores(self, stage: Stage) -> int:
        """Fine-tunings and summaries take one core each and run side by side; all else takes the machine."""
        return 1 if stage.kind in ("evaluate", "summarize") else self.cores

    def _free_cores(self) -> int:
        stages = {stage.id: stage for stage in self.stages}
        return self.cores - sum(self._cores(stages[stage_id]) for stage_id in self.running)

    def _start(self, stage: Stage) -> None:
        tasks = max(1, self.gpus) if stage.kind == "pretrain" else 1
        job = start(
            self.workspace.root,
            [stage.id],
            self.workspace.stage(stage.id) / "logs",
            tasks=tasks,
            gpus=self.gpus if stage.kind == "pretrain" else min(1, self.gpus),
            threads=self._cores(stage),
        )
        self.running[stage.id] = job
        self.logs[stage.id] = job.log

    def _collect(self, stage_id: str) -> None:
        if self.workspace.is_done(stage_id) or self.stopping:
            return
        known = load_state(self.workspace)[0].stages.get(stage_id)
        self.failed[stage_id] = (known.reason if known else None) or "its process was killed"


@contextmanager
def _stop_on_ctrl_c(runner: Runner) -> Iterator[None]:
    """The first Ctrl-C (or TERM) lets the jobs save and end; a second one leaves at once, and they end alone."""

    def ask(_number: int, _frame: object) -> None:
        if runner.stopping:
            raise KeyboardInterrupt
        click.echo("\nStopping: the running stages save first. Ctrl-C again leaves them to it.", err=True)
        runner.stop()

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _conclude(runner: Runner) -> None:
    planned, place, count = runner.planned, runner.workspace, len(runner.stages)
    left = [stage for stage in runner.stages if not place.is_done(stage.id)]
    if runner.stopping and left:
        click.echo(f"Stopped; {len(left)} of {count} stages are left. The same command goes on from here.")
        sys.exit(INTERRUPTED_EXIT_CODE)
    if left:
        raise StageFailed(_failures(runner))
    click.echo(f"{planned.name}: all {count} stages are done. The report: detour report {' '.join(planned.chains)}")


def _failures(runner: Runner) -> str:
    labels = runner.planned.labels
    lines = []
    for stage_id, reason in runner.failed.items():
        waiting = len(downstream(runner.stages, [stage_id])) - 1
        lines.append(f"{labels[stage_id]} failed: {reason} ({waiting} stages wait for it)")
        log = runner.logs.get(stage_id)
        if log is not None and log.exists():
            lines.append(f"the end of {log}:")
            lines += [f"  {line}" for line in log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]]
    lines.append("`detour run` again continues; add --retry where a stage failed for good and its cause is mended.")
    return "\n".join(lines)
