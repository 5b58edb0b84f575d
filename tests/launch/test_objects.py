"""Every verb on a chain, a sweep, a stage and a pattern, called in turn as by a user, on a fake Slurm."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import detour
from detour.config.loading import load_cluster
from detour.launch.verbs import detour as verbs
from detour.ledger.process import user_name
from detour.ledger.workspace import Workspace
from detour.orchestration.order import PlanGroup, make_order
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import send
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from detour.scheduler.commands import SubprocessRunner
from tests.monitoring.workspaces import end, start
from tests.scheduler.fake_slurm import FakeJob, FakeSlurm
from tests.support.chains import small

SWEEP, RECIPE = "grid", small()
LOG = "step 1 of 8"


def plans_of(number: int) -> Plan:
    """Return chains that share everything before their second phase."""
    recipe, *overrides = RECIPE
    changes = (f"name={SWEEP}-{number}", f"phases.mlm.tokens={8 * number}k")
    (plan,) = detour.plan(Path(recipe), *overrides, *changes).plans
    return plan


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [plans_of(1), plans_of(2)]


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """The Slurm that all code calls."""
    fake = FakeSlurm(user=user_name())
    monkeypatch.setattr(SubprocessRunner, "__call__", lambda _, command, timeout_s: fake(command, timeout_s))
    for room in ("control", "withdrawing"):
        monkeypatch.setattr(f"detour.scheduler.{room}.LATE_S", 0.0)
    return fake


@pytest.fixture
def workspace(tmp_path: Path, slurm: FakeSlurm, plans: list[Plan]) -> Workspace:
    """Both chains are in the queue; a stage of the first has begun and was requeued."""
    made = Workspace(tmp_path / "workspace")
    for plan in plans:
        order = make_order(made, PlanGroup(plan.chain, [plan], SWEEP), load_cluster("jean-zay"), JobOptions())
        send(made, replace(order, plans=(plan,)), on_wait=lambda _: None, finish_interrupted=lambda: False)
    stage = own_stage(plans)
    job, *_ = (job.id for job in slurm.live() if job.tag and job.tag.unit == stage.id)
    end(start(made, stage, job=str(job)), "interrupted")
    (made.root / "submissions" / stage.id / f"{job}_0_log.out").write_text(f"{LOG}\n")
    return made


def own_stage(plans: list[Plan]) -> Stage:
    return next(stage for stage in plans[0].stages if stage.label == "pretrain mlm")


def call(workspace: Workspace, verb: str, *arguments: str, code: int = 0) -> str:
    """Return the output on both streams. Another exit code fails the test, with the exception."""
    result = CliRunner().invoke(verbs, [verb, *arguments, "-w", str(workspace.root)])
    assert result.exit_code == code, f"{verb} {arguments}: {result.exception!r}\n{result.output}"
    return result.output


def stages_of(jobs: Iterable[FakeJob]) -> set[str]:
    """Return all stages except evaluations, several of which may share a job."""
    return {job.tag.unit for job in jobs if job.tag and not job.tag.unit.startswith("evaluate")}


@pytest.mark.parametrize(
    ("name", "held", "cancelled"),
    [
        ("grid-1", "first", "own"),
        ("grid", "all", "all"),
        ("grid-*", "all", "all"),
        ("{stage}", "own", "own"),
        ("grid-1/pretrain mlm", "own", "own"),
        ("grid-1/pretrain m*", "own", "own"),
    ],
)
def test_every_verb_takes_a_chain_a_sweep_a_stage_and_a_pattern(
    workspace: Workspace, slurm: FakeSlurm, plans: list[Plan], name: str, held: str, cancelled: str
) -> None:
    name = name.format(stage=own_stage(plans).id)
    first, second = ({stage.id for stage in plan.stages if stage.kind != "evaluate"} for plan in plans)
    meant = {"first": first, "own": first - second, "all": first | second}

    for verb in ("status", "show", "list"):
        assert "grid-1" in call(workspace, verb, name)
    assert "waiting for its turn" in call(workspace, "why", name)
    assert LOG in call(workspace, "logs", name)
    assert "the timeout is over" in call(workspace, "wait", name, "--timeout", "0s", code=124)
    page = workspace.root / "report.html"
    call(workspace, "report", name, "--out", str(page))
    assert "grid-1" in page.read_text()

    said = " ".join(call(workspace, "hold", name).split())
    assert ("held up" in said) == (held == "first"), "of the chain that was named, nothing is said"
    assert ("1 other chain held up too, sharing these stages: grid-2" in said) == (held == "first")
    assert stages_of(job for job in slurm.live() if job.held) == meant[held]
    call(workspace, "release", name)
    assert not any(job.held for job in slurm.live())
    call(workspace, "cancel", name)
    assert stages_of(slurm.live()) == meant["all"] - meant[cancelled], "stages that another chain needs stay"
    call(workspace, "retry", name)
    chains = json.loads(call(workspace, "status", SWEEP, "--json"))["chains"]
    assert {row["status"] for chain in chains for row in chain["stages"]} == {"submitted"}
