"""Folders that cannot be read are reported as such, and never treated as empty."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from detour.ledger.events import StageSubmitted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from tests.housekeeping.workspaces import make_workspace
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
