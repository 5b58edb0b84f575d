"""A wave sent by a job does what was ordered last: not what was cancelled or planned anew meanwhile."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.errors import SchedulerUnavailable
from detour.housekeeping.finding import Kind
from detour.jobs import next_wave
from detour.jobs.log import LOGGER
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration import cluster_orders, control
from detour.orchestration.cleaning import removable
from detour.orchestration.order import Order, PlanGroup, make_order
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import Submitted, send
from detour.planning.build import Planner
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from detour.scheduler.commands import Slurm
from detour.scheduler.submission_script import tasks_in
from tests.monitoring.workspaces import mark_done
from tests.scheduler.fake_slurm import FakeSlurm
from tests.support.recipes import make_recipe
from tests.support.stages import assumed_file

SWEEP, CHAINS = "sweep", ("a", "b")
LIMIT = 8
PLANNER = Planner(assumed_file)


def plans(**changes: object) -> list[Plan]:
    """Two chains that share the corpus and the first phase."""
    tokens = enumerate(CHAINS, 1)
    return [
        PLANNER.plan(make_recipe({"name": name, "phases.mlm.tokens": 1024 * number, **changes}))
        for number, name in tokens
    ]


def limited(limit: int | None) -> Cluster:
    cluster = load_cluster("slurm-local")
    qos = tuple(one.model_copy(update={"submitted_jobs": limit}) for one in cluster.qos)
    return cluster.model_copy(update={"qos": qos, "qos_required": True})


def submit(workspace: Workspace, planned: list[Plan], limit: int | None = LIMIT) -> Submitted:
    order = make_order(workspace, PlanGroup(SWEEP, planned, SWEEP), limited(limit), JobOptions(gpus=1))
    order = replace(order, plans=tuple(planned))
    return send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)


@pytest.fixture
def workspace(tmp_path: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Both chains submitted; the wave ends with their second trainings, and all before these is done."""
    monkeypatch.setattr(cluster_orders, "Slurm", lambda **_: Slurm(fake))
    for room in ("control", "withdrawing"):
        monkeypatch.setattr(f"detour.scheduler.{room}.LATE_S", 0.0)
    workspace = Workspace(tmp_path / "workspace")
    assert submit(workspace, plans()).next_wave is not None
    for stage in shared():
        mark_done(workspace, stage)
    return workspace


def shared() -> list[Stage]:
    first, second = (plan.stages for plan in plans())
    return [stage for stage in first if stage in second]


def own(chain: str) -> list[Stage]:
    (plan,) = (one for one in plans() if one.chain == chain)
    return [stage for stage in plan.stages if stage not in shared()]


def wave(fake: FakeSlurm) -> str:
    """The unit of the running job that sends the next wave; what it waited for has ended."""
    (job,) = (job for job in fake.live() if job.tag and job.tag.unit.startswith("continue-"))
    for other in fake.live():
        other.state = "COMPLETED"
    job.state = "RUNNING"
    assert job.tag is not None
    return job.tag.unit


def sent_by(fake: FakeSlurm, workspace: Workspace, unit: str) -> set[str]:
    """The stages that a wave sends."""
    before = set(fake.jobs)
    next_wave.send_wave(workspace, unit)
    scripts = [Path(job.script).read_text() for number, job in fake.jobs.items() if number not in before]
    stages = [stage.id for chain in CHAINS for stage in own(chain)]
    return {stage for stage in stages if any(stage in script for script in scripts)}


def cancel(workspace: Workspace, chain: str) -> None:
    control.cancel(workspace, [chain], on_wait=lambda _: None).require_done()


def ids(stages: list[Stage]) -> set[str]:
    return {stage.id for stage in stages}


def test_a_chain_cancelled_before_a_wave_stays_cancelled_after_it(workspace: Workspace, fake: FakeSlurm) -> None:
    cancel(workspace, "a")
    mark_done(workspace, own("b")[0])
    assert sent_by(fake, workspace, wave(fake)) <= ids(own("b"))
    state = LedgerView(workspace).state
    assert (state.is_chain_cancelled("a"), state.is_chain_cancelled("b")) == (True, False)


def test_what_a_cancelled_chain_had_done_does_not_hide_the_progress_of_the_others(
    workspace: Workspace, fake: FakeSlurm
) -> None:
    for stage in own("a")[:2]:
        mark_done(workspace, stage)
    submit(workspace, plans())
    cancel(workspace, "a")
    mark_done(workspace, own("b")[0])
    assert sent_by(fake, workspace, wave(fake))


def test_a_wave_leaves_out_stages_that_its_chains_no_longer_have(workspace: Workspace, fake: FakeSlurm) -> None:
    submit(workspace, plans(**{"optimizer.lr": 2e-3}), limit=None)
    unit = wave(fake)
    for stage in (own("a")[0], own("b")[0]):
        mark_done(workspace, stage)
    assert sent_by(fake, workspace, unit) == set()


def test_a_cancellation_between_the_start_of_a_wave_and_its_claim_counts(
    workspace: Workspace, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chain in CHAINS:
        mark_done(workspace, own(chain)[0])
    unit, orders = wave(fake), [lambda: cancel(workspace, "a"), lambda: None]

    def ordered(*arguments: Any) -> Order:
        order = make_order(*arguments)
        orders.pop(0)()
        return order

    monkeypatch.setattr("detour.jobs.next_wave.make_order", ordered)
    with pytest.raises(SchedulerUnavailable, match="changed meanwhile"):
        next_wave.send_wave(workspace, unit)
    assert sent_by(fake, workspace, unit) == ids(own("b")[1:])


def test_a_wave_that_was_submitted_again_while_its_job_was_running_is_sent_once(
    workspace: Workspace, fake: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    for chain in CHAINS:
        mark_done(workspace, own(chain)[0])
    unit = wave(fake)
    assert submit(workspace, plans(), limit=4).next_wave is not None
    caplog.set_level(logging.INFO, LOGGER.name)
    assert sent_by(fake, workspace, unit) == set()
    assert "submitted again meanwhile" in caplog.text


def test_code_is_kept_for_a_wave_that_is_still_to_come(workspace: Workspace, fake: FakeSlurm) -> None:
    """Its job is in no stage, and all jobs before it have ended."""
    for chain in CHAINS:
        mark_done(workspace, own(chain)[0])
    (code,) = (workspace.root / "code").iterdir()
    os.utime(code, (1e9, 1e9))
    (workspace.root / "code" / "newer").mkdir()
    wave(fake)
    assert Kind.CODE not in {found.kind for found in removable(workspace)}
    for chain in CHAINS:
        cancel(workspace, chain)
    assert [found.path for found in removable(workspace) if found.kind is Kind.CODE] == [code]


def test_a_held_chain_is_held_in_later_waves_until_its_release(workspace: Workspace, fake: FakeSlurm) -> None:
    for chain in CHAINS:
        mark_done(workspace, own(chain)[0])
    held = control.hold(workspace, ["a"], on_wait=lambda _: None)
    held.require_done()
    assert set(held.deferred) == ids(own("a")[1:])
    sent = sent_by(fake, workspace, wave(fake))
    assert sent & ids(own("a"))
    assert sent & ids(own("b"))
    assert held_tasks(fake) == {True: ids(own("a")) & sent, False: ids(own("b")) & sent}
    control.release(workspace, ["a"], on_wait=lambda _: None).require_done()
    assert held_tasks(fake) == {False: sent}


def held_tasks(fake: FakeSlurm) -> dict[bool, set[str]]:
    """Whether they are held -> the stages of live jobs."""
    found: dict[bool, set[str]] = {}
    for job in fake.live():
        for task, stages in enumerate(tasks_in(Path(job.script).read_text()) or ()):
            if job.tasks is not None and task not in job.tasks:
                continue
            found.setdefault(job.is_task_held(task), set()).update(one for one in stages if "continue" not in one)
    return {held: stages for held, stages in found.items() if stages}


def test_a_chain_cancelled_while_held_is_not_held_when_it_is_submitted_again(
    workspace: Workspace, fake: FakeSlurm
) -> None:
    control.hold(workspace, ["a"], on_wait=lambda _: None).require_done()
    cancel(workspace, "a")
    submit(workspace, plans(), limit=None)
    assert set(held_tasks(fake)) == {False}
