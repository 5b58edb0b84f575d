"""A sweep on this machine: shared stages are computed once, and finished ones not again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from tests.support.chains import RECIPES, SMALL, detour

pytestmark = pytest.mark.xdist_group("chain")
WITHOUT_EVALUATION = ("benchmark=null", *(one for one in SMALL if not one.startswith("benchmark")))


def write_sweep(folder: Path, lengths: str) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(
        f"name: tiny\nrecipe: {RECIPES / 'quickstart.yaml'}\naxes:\n"
        f"  decay: {{key: phases.mlm.tokens, values: [{lengths}]}}\n"
    )
    return path


def test_a_sweep_reuses_finished_chains_and_a_new_chain_adds_only_its_own_stages(
    quickstart: Path, tmp_path: Path
) -> None:
    sweep, where = write_sweep(tmp_path, "8k"), ("-w", quickstart)
    arguments = (str(sweep), *(one for one in WITHOUT_EVALUATION if not one.startswith("phases.mlm.tokens")))
    assert "nothing to do" in detour("run", *arguments, *where, "--quiet").stdout

    write_sweep(tmp_path, "8k, 4k")
    plan = json.loads(detour("plan", *arguments, *where, "--json").stdout)
    assert plan["needed"] == 12
    assert plan["saved"] == 3
    assert len(plan["stages"]) == 9
    assert list(plan["standing"].values()) == ["done"] * 6
    output = detour("run", *arguments, *where, "--quiet").stdout
    assert "tiny: all 9 stages are done" in output
    assert "pretrain clm" not in output, "it was done already"
    assert "pretrain mlm (tiny-4k)" in output
    stages = LedgerView(Workspace(quickstart)).state.stages
    assert {stage: len(stages[stage].attempts) for stage in plan["stages"]} == dict.fromkeys(plan["stages"], 1)
    assert "nothing to do" in detour("run", *arguments, *where).stdout

    rows = json.loads(detour("prices", *where, "--json").stdout)["stages"]
    later = next(row for row in rows if row["kind"] == "pretrain" and row["source"].startswith("measured here"))
    assert later["expected_s"]["expected"] > 0, "one decay gives the price of the other"


def test_a_run_over_budget_is_stopped_before_anything_starts(tmp_path: Path) -> None:
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
