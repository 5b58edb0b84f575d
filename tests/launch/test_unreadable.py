"""Folders that cannot be read are reported as such, and never treated as empty."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from detour.ledger.events import BudgetCommitted, BudgetReserved, ReservedStages, StageSubmitted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.planning.files import read_plan_outline
from tests.housekeeping.workspaces import make_workspace
from tests.reporting.fabricate import make_twins
from tests.support.chains import DETOUR
from tests.support.permissions import as_a_person, unreadable

INPUTS = {"prepare-1": (), "pretrain-2": ("prepare-1",)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, INPUTS, {"mine": ("prepare-1",), "theirs": ("prepare-1", "pretrain-2")})


def call(workspace: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    command = as_a_person([DETOUR, *words, "-w", str(workspace.root)])
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", ["chains", "chains/theirs", "models", "pins"])
def test_nothing_is_removable_while_a_needed_stage_cannot_be_read(workspace: Workspace, folder: str) -> None:
    (workspace.root / folder).mkdir(exist_ok=True)
    with unreadable(workspace.root / folder):
        ended = call(workspace, "gc", "--dry-run")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{workspace.root / folder}" in ended.stderr
    assert workspace.is_done("pretrain-2")


def test_nothing_is_removable_while_a_journal_cannot_be_read_whose_jobs_may_run(workspace: Workspace) -> None:
    with Journal.open(workspace, "command-1") as journal:
        journal.append(StageSubmitted(), stage="pretrain-2", job="7")
    with unreadable(next(workspace.ledger.glob("*/command-1*.jsonl"))):
        ended = call(workspace, "gc", "--dry-run")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Permission denied; its jobs may be in use, so nothing is removed" in ended.stderr


@pytest.mark.parametrize("verb", [["status"], ["status", "mine"], ["list"], ["cancel", "mine"]])
def test_chains_that_cannot_be_listed_are_not_taken_for_none(workspace: Workspace, verb: list[str]) -> None:
    with unreadable(workspace.root / "chains"):
        ended = call(workspace, *verb)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"detour: {workspace.root / 'chains'}: no permission")


@pytest.mark.parametrize("verb", ["status", "show", "logs", "why", "wait", "cancel", "retry"])
def test_a_named_chain_that_cannot_be_read_is_reported(workspace: Workspace, verb: str) -> None:
    with unreadable(workspace.chain("theirs")):
        ended = call(workspace, verb, "theirs")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"detour: {workspace.chain('theirs') / 'plan.json'}: cannot be read")


@pytest.mark.parametrize("verb", ["status", "list", "wait", "energy"])
def test_a_private_workspace_is_reported_as_private(workspace: Workspace, verb: str) -> None:
    with unreadable(workspace.root):
        ended = call(workspace, verb)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"detour: {workspace.root}")
    assert "no permission; a workspace is private until it is shared" in ended.stderr


@pytest.mark.parametrize(("folder", "others"), [("stages/pretrain-2", ""), ("stages", ", nor those of 1 other stage")])
def test_stages_with_unreadable_markers_are_unknown_and_reported_as_unreadable(
    workspace: Workspace, folder: str, others: str
) -> None:
    call(workspace, "status")
    with unreadable(workspace.root / folder):
        ended = call(workspace, "status", "theirs")
    assert ended.returncode == 0
    assert f"theirs: {0 if others else 1} of 2 stages done, {2 if others else 1} unknown" in ended.stdout
    assert "its folder cannot be read (Permission denied)" in ended.stdout
    assert f"/output/manifest.json: cannot be read (Permission denied){others}\n" in ended.stdout


@pytest.mark.parametrize("verb", ["status", "list"])
def test_readable_chains_are_shown_next_to_an_unreadable_one(workspace: Workspace, verb: str) -> None:
    with unreadable(workspace.root / "chains" / "theirs"):
        ended = call(workspace, verb)
    assert ended.returncode == 0
    assert "mine" in ended.stdout
    assert "theirs/plan.json: cannot be read (Permission denied)" in ended.stdout + ended.stderr


@pytest.mark.parametrize("folder", ["submissions", "submissions/pretrain-2"])
def test_a_log_in_an_unreadable_folder_is_not_taken_for_none(workspace: Workspace, folder: str) -> None:
    with Journal.open(workspace, "command-1") as journal:
        journal.append(StageSubmitted(), stage="pretrain-2", job="7")
    (workspace.root / "submissions" / "pretrain-2").mkdir(parents=True)
    (workspace.root / "submissions" / "pretrain-2" / "7_0_log.out").write_text("loading\n")
    with unreadable(workspace.root / folder):
        ended = call(workspace, "logs", "pretrain-2")
    assert ended.returncode == 2
    assert f"{workspace.root / folder}: cannot be read (Permission denied)" in ended.stderr
    assert "loading" in call(workspace, "logs", "pretrain-2").stdout


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_twins(Workspace(tmp_path_factory.mktemp("twins"))).workspace


def stage_of_the_twin(workspace: Workspace) -> str:
    return next(stage.id for stage in read_plan_outline(workspace, "quickstart-mlm").stages if stage.kind == "evaluate")


def test_a_stage_that_its_owner_keeps_private_stops_no_report_and_no_plan(twins: Workspace, tmp_path: Path) -> None:
    stage = stage_of_the_twin(twins)
    with unreadable(twins.stage(stage)):
        report = call(twins, "report", "--out", str(tmp_path / "report.json"))
        plan = call(twins, "plan", "quickstart", "--cluster", "jean-zay")
    assert (report.returncode, plan.returncode) == (0, 0), report.stderr + plan.stderr
    assert f"{twins.manifest(stage)}: cannot be read (Permission denied)\n" in report.stderr
    assert json.loads((tmp_path / "report.json").read_text())["stages"][stage]["status"] == "unknown"


def test_a_chain_that_its_owner_keeps_private_does_not_stop_the_report_of_another(
    twins: Workspace, tmp_path: Path
) -> None:
    with unreadable(twins.chain("quickstart-mlm")):
        ended = call(twins, "report", "quickstart", "--out", str(tmp_path / "report.html"))
    assert ended.returncode == 0, ended.stderr


def test_a_stage_that_cannot_be_read_holds_its_reservation(twins: Workspace, tmp_path: Path) -> None:
    stage = stage_of_the_twin(twins)
    (tmp_path / "budget.yaml").write_text("name: ours\ngpu_hours: {hard: 9}\n")
    with Journal.open(twins, "command-1") as journal:
        shares: list[ReservedStages] = [{"ids": [stage], "amounts": {"gpu_hours": 3.0}}]
        journal.append(BudgetReserved(submission="theirs", facts={}, stages=shares, over=[], why=None))
        journal.append(BudgetCommitted(submission="theirs"))
    with unreadable(twins.stage(stage)):
        ended = call(twins, "budget", str(tmp_path / "budget.yaml"))
    assert ended.returncode == 0, ended.stderr
    assert "0 spent + 3.0 reserved of 9.0" in ended.stdout
