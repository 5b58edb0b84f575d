from __future__ import annotations

from pathlib import Path

import pytest

from detour.launch.text.run import Lines
from detour.ledger.claims import claim
from detour.ledger.workspace import Workspace


def test_a_stage_that_another_process_runs_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.create()
    lines = Lines(workspace, {"prepare-01": "prepare", "pretrain-02": "pretrain mlm"})
    held = claim(workspace, "pretrain-02", owner="process 7")
    lines.refresh(["prepare-01"])
    lines.refresh([])
    lines.refresh([])
    held.release()
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0].strip() for line in shown] == ["prepare", "prepare", "pretrain mlm"]
    assert "awaited: " in shown[2]
    assert shown[2].endswith(" runs it")


def test_a_stage_that_failed_is_not_called_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.create()
    lines = Lines(workspace, {"prepare-01": "prepare"})
    lines.refresh(["prepare-01"])
    workspace.failure("prepare-01").parent.mkdir(parents=True)
    workspace.failure("prepare-01").write_text("{}")
    lines.refresh([])
    assert capsys.readouterr().out.splitlines()[-1].startswith("prepare  failed after ")
