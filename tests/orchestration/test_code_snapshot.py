"""Jobs run the code as it was at submission."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from detour.ledger.workspace import Workspace
from detour.orchestration.code_snapshot import python_path, take_code_snapshot
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.submission_script import ScriptStyle, submission_script
from detour.scheduler.tags import Tag


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name, text in (("src/detour/__init__.py", "VALUE = 1\n"), ("jobs/__init__.py", ""), ("launch/a.html", "<p>")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in ("jobs", "launch"):
        (root / "src/detour" / name).symlink_to(root / name)
    git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    return root


def test_later_edits_do_not_change_a_snapshot(tmp_path: Path, checkout: Path) -> None:
    """It runs as a job does: in the folder of the submission, which is the checkout."""
    workspace = Workspace(tmp_path / "w")
    (checkout / "jobs/__main__.py").write_text("import detour\n\nprint(1, detour.VALUE)\n")
    code = take_code_snapshot(workspace, checkout).folder
    (checkout / "src/detour/__init__.py").write_text("VALUE = 2\n")
    (checkout / "jobs/__main__.py").write_text("import detour\n\nprint(2, detour.VALUE)\n")
    style = ScriptStyle(workspace.root, sys.executable, environment={"PYTHONPATH": python_path(code)})
    request, tag = JobRequest((("prepare-0",),), Resources(), wall_s=60), Tag("w", "prepare-0", 1, "s")
    (srun,) = [
        line for line in submission_script(request, tag, None, style, tmp_path).splitlines() if "-m detour.jobs" in line
    ]
    printed = subprocess.run(
        srun[srun.index(sys.executable) :],
        shell=True,
        env={**os.environ, **(style.environment or {})},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "1 1\n"


def test_equal_code_shares_a_folder_and_other_code_has_its_own(tmp_path: Path, checkout: Path) -> None:
    workspace = Workspace(tmp_path / "w")
    first = take_code_snapshot(workspace, checkout).folder
    assert take_code_snapshot(workspace, checkout).folder == first
    (checkout / "jobs/new.py").write_text("")
    assert take_code_snapshot(workspace, checkout).folder != first
    assert not [path for path in first.parent.iterdir() if path.name.startswith(".")]


def test_uncommitted_edits_are_kept_as_a_patch(tmp_path: Path, checkout: Path) -> None:
    (checkout / "src/detour/__init__.py").write_text("VALUE = 3\n")
    code = take_code_snapshot(Workspace(tmp_path / "w"), checkout).folder
    assert "+VALUE = 3" in (code / "changes.patch").read_text()
    assert json.loads((code / "snapshot.json").read_text())["git_commit"]


def test_no_secret_gets_into_a_snapshot(tmp_path: Path, checkout: Path) -> None:
    (checkout / ".gitignore").write_text("local.py\n")
    for name in ("launch/.env", "src/detour/token.txt", "jobs/local.py", "notes.py"):
        (checkout / name).write_text("PASSWORD = 'hidden'\n")
    code = take_code_snapshot(Workspace(tmp_path / "w"), checkout).folder
    assert not [file for file in code.rglob("*") if file.is_file() and b"hidden" in file.read_bytes()]


def test_the_version_is_recorded(tmp_path: Path, checkout: Path) -> None:
    code = take_code_snapshot(Workspace(tmp_path / "w"), checkout).folder
    assert json.loads((code / "snapshot.json").read_text())["version"] == version("detour")
