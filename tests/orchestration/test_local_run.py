"""Two commands on one workspace: the second one waits, and records no failure that did not happen."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.files import write_atomic
from detour.handlers import handling
from detour.housekeeping.removing import remove
from detour.ledger.attempt import Attempt
from detour.ledger.claims import claim
from detour.ledger.events import AttemptEnded, AttemptStarted, ChainRetried
from detour.ledger.journal import Journal
from detour.ledger.reading import history
from detour.ledger.workspace import Workspace
from detour.orchestration import local_runner
from detour.orchestration.chain_files import forget_chains, write_chains
from detour.orchestration.cleaning import removable
from detour.orchestration.local_run import LocalOrder, Ran, local_order, run_here
from detour.orchestration.local_runner import LocalRunner, stop_on_ctrl_c
from detour.orchestration.plans import load_plans
from detour.orchestration.slurm import SUBMISSION_CLAIM
from detour.planning.files import plan_file
from detour.planning.stage import Stage
from tests.support.chains import small
from tests.support.stages import prepare_stage


@dataclass
class EndedJob:
    """A job that has already ended."""

    id: str
    log: Path

    def is_running(self) -> bool:
        return False


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The ids of the stages whose jobs were started."""
    ids: list[str] = []

    def start(_root: Path, stages: list[str], *_: Any, **__: Any) -> EndedJob:
        ids.extend(stages)
        return EndedJob(f"job-{len(ids)}", tmp_path / "log")

    monkeypatch.setattr(local_runner, "start", start)
    return ids


def attempted(workspace: Workspace, stage: Stage, job: str, reason: str) -> None:
    with Journal.open(workspace, "attempt") as journal:
        attempt = Attempt(journal, stage=stage.id, number=1, job=job)
        attempt.event(AttemptStarted())
        attempt.event(AttemptEnded(outcome="failed", exit_code=1, reason=reason))


def test_the_loser_of_a_claim_waits_and_records_no_failure(workspace: Workspace, started: list[str]) -> None:
    stage = prepare_stage()
    runner = LocalRunner(workspace, [stage], cores=1, gpus=())
    assert runner.step()
    with claim(workspace, stage.id, "another terminal"):
        assert runner.step()
    assert (runner.failed, started) == ({}, [stage.id])


def test_a_stage_that_another_command_started_and_left_is_continued(workspace: Workspace, started: list[str]) -> None:
    stage = prepare_stage()
    runner = LocalRunner(workspace, [stage], cores=1, gpus=())
    runner.step()
    attempted(workspace, stage, "another's", "signal SIGINT")
    runner.step()
    assert (runner.failed, started) == ({}, [stage.id, stage.id])


@pytest.mark.usefixtures("started")
def test_a_permanent_failure_seen_by_another_command_has_its_reason(workspace: Workspace) -> None:
    stage = prepare_stage()
    runner = LocalRunner(workspace, [stage], cores=1, gpus=())
    runner.step()
    write_atomic(workspace.failure(stage.id), '{"reason": "no text"}')
    assert not runner.step()
    assert runner.failed == {stage.id: "no text"}


def test_a_job_that_recorded_no_start_was_killed(workspace: Workspace, started: list[str]) -> None:
    stage = prepare_stage()
    attempted(workspace, stage, "yesterday's", "no memory")
    runner = LocalRunner(workspace, [stage], cores=1, gpus=())
    runner.step()
    assert not runner.step()
    assert (runner.failed, started) == ({stage.id: "its process was killed"}, [stage.id])


@pytest.mark.usefixtures("started")
def test_a_job_that_recorded_its_end_has_its_own_reason(workspace: Workspace) -> None:
    stage = prepare_stage()
    runner = LocalRunner(workspace, [stage], cores=1, gpus=())
    runner.step()
    attempted(workspace, stage, "job-1", "no memory")
    assert not runner.step()
    assert runner.failed == {stage.id: "no memory"}


@pytest.fixture
def order(workspace: Workspace) -> LocalOrder:
    """The order of a chain whose stages are all done and whose plan is written."""
    recipe, *overrides = small()
    planned = load_plans(Path(recipe), overrides)
    write_chains(workspace, planned.plans, load_cluster("local"))
    for stage in planned.shared.stages.values():
        workspace.output(stage.id).mkdir()
        workspace.manifest(stage.id).write_text("{}")
    return local_order(workspace, planned, load_cluster("local"))


def run(order: LocalOrder, on_wait: Callable[[str], None] = lambda _: None) -> Ran:
    return run_here(order, on_wait=on_wait, on_accepted=lambda _: None, on_refresh=lambda _: None, on_stop=lambda: None)


def test_a_chain_whose_stages_are_done_has_nothing_to_run(order: LocalOrder) -> None:
    assert order.is_done


def test_a_damaged_plan_of_a_finished_chain_is_written_again(order: LocalOrder) -> None:
    plan_file(order.workspace, "quickstart").write_text("{")
    assert not order.is_done
    ran = run(order)
    assert ran.left == ()
    assert order.is_done


def test_a_run_waits_for_gc_and_makes_again_what_it_removed(order: LocalOrder, started: list[str]) -> None:
    """The stages of a chain that is no longer planned are needed by the new one."""
    workspace = order.workspace
    forget_chains(workspace, ["quickstart"])
    gc = claim(workspace, SUBMISSION_CLAIM, "detour gc")

    def end_gc(_: str) -> None:
        for found in removable(workspace):
            remove(workspace, found)
        gc.release()

    run(order, end_gc)
    assert started == [order.stages[0].id]
    assert removable(workspace) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cores": 0}, "0 cores: expected 1"),
        ({"gpus": -1}, "-1 GPUs: exp"),
        ({"cores": 1.5}, "1.5 cores: expected a whole number"),
    ],
)
def test_a_run_on_less_than_nothing_is_refused(order: LocalOrder, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        local_order(order.workspace, order.planned, order.cluster, **asked)


def test_a_retry_clears_the_failures_of_what_it_runs_and_records_them(order: LocalOrder, started: list[str]) -> None:
    workspace = order.workspace
    prepare, *_, summary = order.stages
    for failed in (prepare, summary):
        workspace.manifest(failed.id).unlink()
        workspace.failure(failed.id).write_text('{"reason": "no memory"}')
    again = local_order(workspace, order.planned, order.cluster, retry=True, until="prepare")
    run(again)
    assert started == [prepare.id]
    assert not workspace.failure(prepare.id).exists()
    assert workspace.failure(summary.id).exists(), "it is not run"
    (retried,) = history(workspace, (ChainRetried,))
    assert retried.event.cleared == {"prepare": "no memory"}


def test_a_closed_terminal_stops_a_run_unless_it_is_to_go_on_without_one(workspace: Workspace) -> None:
    runner = LocalRunner(workspace, (), 1, ())
    with handling((signal.SIGHUP,), signal.SIG_DFL), stop_on_ctrl_c(runner, lambda: None):
        signal.raise_signal(signal.SIGHUP)
    assert runner.stopping
    unattended = LocalRunner(workspace, (), 1, ())
    with handling((signal.SIGHUP,), signal.SIG_IGN), stop_on_ctrl_c(unattended, lambda: None):
        signal.raise_signal(signal.SIGHUP)
    assert not unattended.stopping
