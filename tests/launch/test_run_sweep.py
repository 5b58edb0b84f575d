"""A sweep on this machine: what chains share is computed once, and what is done stays done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from tests.support.chains import RECIPES, SMALL, detour

pytestmark = pytest.mark.xdist_group("sweep")
WITHOUT_EVALUATION = ("benchmark=null", *(one for one in SMALL if not one.startswith("benchmark")))


def write_sweep(folder: Path, lengths: str) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(
        f"name: tiny\nrecipe: {RECIPES / 'quickstart.yaml'}\naxes:\n"
        f"  decay: {{key: phases.mlm.tokens, values: [{lengths}]}}\n"
    )
    return path


def test_phase_1_is_trained_once_and_a_further_chain_adds_only_itself(tmp_path: Path) -> None:
    sweep, workspace = write_sweep(tmp_path, "4k"), Workspace(tmp_path / "workspace")
    arguments = (str(sweep), *(one for one in WITHOUT_EVALUATION if not one.startswith("phases.mlm.tokens")))
    said = detour("run", *arguments, "-w", workspace.root, "--quiet").stdout
    assert "tiny: all 6 stages are done" in said

    write_sweep(tmp_path, "4k, 8k")
    plan = json.loads(detour("plan", *arguments, "-w", workspace.root, "--json").stdout)
    assert (plan["needed"], plan["saved"], len(plan["stages"])) == (12, 3, 9)
    assert list(plan["standing"].values()) == ["done"] * 6
    said = detour("run", *arguments, "-w", workspace.root, "--quiet").stdout
    assert "tiny: all 9 stages are done" in said
    assert "pretrain clm" not in said, "it was done already"
    assert "pretrain mlm (tiny-8k)" in said
    attempts = {stage.id: len(stage.attempts) for stage in LedgerView(workspace).state.stages.values()}
    assert attempts == dict.fromkeys(plan["stages"], 1)
    assert "nothing to do" in detour("run", *arguments, "-w", workspace.root).stdout

    rows = json.loads(detour("prices", "-w", workspace.root, "--json").stdout)["stages"]
    later = next(row for row in rows if row["kind"] == "pretrain" and row["source"].startswith("measured here"))
    assert later["expected_s"]["expected"] > 0, "the shorter decay prices the longer one"


def test_a_budget_that_does_not_hold_a_run_stops_it_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "configs" / "budgets").mkdir(parents=True)
    budget = tmp_path / "configs" / "budgets" / "mine.yaml"
    budget.write_text("name: mine\nscope: {cluster: local}\nenergy_kwh: {hard: 0.001}\n")
    workspace = tmp_path / "workspace"
    arguments = ("run", RECIPES / "quickstart.yaml", "-w", workspace, "--quiet")
    refused = detour(*arguments, check=False, cwd=tmp_path)
    assert refused.returncode == 4
    assert "over budget mine, in kWh" in refused.stderr
    assert "--over-budget" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not any((workspace / "chains").iterdir())
