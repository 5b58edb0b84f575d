"""Earlier permanent failures are reported before anything is sent: which chain, why, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from detour.errors import StageFailed
from detour.launch import plan, run, submit
from detour.ledger.events import ChainRetried
from detour.ledger.reading import history
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import clear_failures
from detour.planning.stage import Stage

CONFIGS = Path(__file__).parents[2] / "configs"
SWEEP = CONFIGS / "sweeps" / "quickstart-sweep.yaml"
WHERE = ("--cluster", "slurm-local")


def call(verb: Any, *arguments: object) -> Result:
    return CliRunner().invoke(verb.command, [str(argument) for argument in arguments])


def planned(workspace: Workspace) -> Any:
    return json.loads(call(plan, SWEEP, "-w", workspace.root, "--json").stdout)


def fail(workspace: Workspace, stage: str, reason: str = "the loss fell by 0.1 nats, 0.5 are asked for\x1b[2J") -> None:
    workspace.stage(stage).mkdir(parents=True)
    workspace.failure(stage).write_text(json.dumps({"reason": reason}))


def finish(workspace: Workspace, stage: str) -> None:
    workspace.output(stage).mkdir(parents=True, exist_ok=True)
    workspace.manifest(stage).write_text("{}")


@pytest.fixture
def promotion(workspace: Workspace) -> str:
    """The failed promotion of phase 1, which two chains share; one of them has been planned before."""
    data = planned(workspace)
    shared = next(stage for stage in data["stages"] if stage.startswith("promote") and data["uses"].get(stage) == 2)
    fail(workspace, shared)
    (workspace.chain("quickstart-clm-decay-60k")).mkdir()
    stages = [data["stages"][stage] for stage in data["chains"][1]["stages"]]
    (workspace.chain("quickstart-clm-decay-60k") / "plan.json").write_text(json.dumps({"stages": stages}))
    return str(shared)


def test_a_plan_names_the_failed_chain_the_reason_and_the_remedy(workspace: Workspace, promotion: str) -> None:
    text = call(plan, SWEEP, "-w", workspace.root).stdout
    assert "1 failed" in text
    assert "failed: promote clm of quickstart-clm-decay-30k and 1 other chain: the loss fell by" in text
    assert "14 dependents" in " ".join(text.split()), "two decays with their dependents"
    assert f"\n    detour retry -w {workspace.root} quickstart-clm-decay-60k\n" in text, (
        "the chain that the workspace knows"
    )
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines() if "detour retry" not in line) <= 100
    assert promotion in planned(workspace)["standing"]


def test_a_submission_reports_failures_first_and_leaves_out_what_cannot_run(
    workspace: Workspace, promotion: str
) -> None:
    everything = call(submit, SWEEP, "-w", workspace.root.with_name("other"), *WHERE, "--dry-run").stdout
    text = call(submit, SWEEP, "-w", workspace.root, *WHERE, "--dry-run").stdout
    assert text.startswith("failed: promote clm")
    assert promotion in everything
    assert promotion not in text
    assert everything.count("### export x2\n") == 2
    assert text.count("### export x2\n") == 1, "the other arm continues"


def test_a_retry_submits_failed_stages_and_a_dry_run_clears_nothing(workspace: Workspace, promotion: str) -> None:
    text = call(submit, SWEEP, "-w", workspace.root, *WHERE, "--retry", "--dry-run").stdout
    assert "retried now" in text
    assert promotion in text
    assert workspace.failure(promotion).exists()


def test_a_cleared_failure_is_recorded_with_its_reason(workspace: Workspace, promotion: str) -> None:
    data = planned(workspace)
    stage = Stage.from_json(data["stages"][promotion])
    clear_failures(workspace, "quickstart-sweep", [stage])
    assert not workspace.failure(promotion).exists()
    (retried,) = history(workspace, (ChainRetried,))
    assert retried.event.cleared["promote clm"].startswith("the loss fell")


def test_if_nothing_else_can_be_submitted_it_is_no_success(workspace: Workspace, promotion: str) -> None:
    data = planned(workspace)
    waiting = {promotion}
    for stage_id, stage in data["stages"].items():
        if waiting & set(stage["inputs"].values()):
            waiting.add(stage_id)
    for stage_id in data["stages"].keys() - waiting:
        finish(workspace, stage_id)
    result = call(submit, SWEEP, "-w", workspace.root, *WHERE)
    assert isinstance(result.exception, StageFailed)
    assert "nothing to submit but what failed" in str(result.exception)
    assert "failed: promote clm of " in result.stdout, "stage and remedy come first"


def test_without_retry_a_run_starts_nothing_that_failed_before(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/detour", "run", "my sweep.yaml", "--", "phases.mlm.tokens=2B"])
    fail(workspace, next(stage for stage in planned(workspace)["stages"] if stage.startswith("prepare")), "no disk")
    result = call(run, SWEEP, "-w", workspace.root, "--quiet")
    assert "failed: prepare of quickstart-clm-decay-30k and 3 other chains: no disk" in result.stdout
    assert isinstance(result.exception, StageFailed)
    assert "prepare (4 chains) failed: no disk (32 dependents pending)" in str(result.exception)
    assert "\n    detour run --retry 'my sweep.yaml' -- phases.mlm.tokens=2B\n" in result.stdout
    assert not list((workspace.root / "stages").glob("*/attempts")), "nothing was started"


def test_an_unreadable_failure_marker_still_counts(workspace: Workspace) -> None:
    prepare = next(stage for stage in planned(workspace)["stages"] if stage.startswith("prepare"))
    fail(workspace, prepare)
    workspace.failure(prepare).write_text("[]")
    text = call(plan, SWEEP, "-w", workspace.root).stdout
    assert "3 other chains: unknown" in text
    assert "detour retry" not in text, "no chain is known here yet, so none can be named"
    assert "detour submit ... --retry" in text
