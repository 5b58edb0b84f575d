"""The constants of a site are those of the plan that was made last, in every verb and in every folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detour.config.loading import load_cluster
from detour.launch import budget as budgets
from detour.launch import energy, report, status
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import plans_to_write, write_chains
from detour.planning.plan import Plan
from tests.reporting.fabricate import HELD, Made, stages_of
from tests.support.chains import ROOT
from tests.support.invoking import invoke

SHIPPED = (ROOT / "configs/clusters/jean-zay.yaml").read_text()
BUDGET = "name: all\nbilled_hours: {hard: 100}\nco2_kg: {hard: 100}\n"
IT_G = (0.7 + 24 * 0.0073 + 6 * 0.0003725) * 34
"""Of the attempt, without PUE: a board, 24 cores and 6 GB for an hour."""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A chain that used a GPU for an hour, in the folder of a user whose own profile has the name of a shipped one."""
    folder = tmp_path / "own"
    (folder / "configs/clusters").mkdir(parents=True)
    (folder / "configs/budgets").mkdir()
    (folder / "configs/budgets/all.yaml").write_text(BUDGET)
    monkeypatch.chdir(folder)
    workspace = Workspace(tmp_path / "workspace")
    workspace.create()
    write_profile(1.1, "gpu")
    plan(workspace, "first")
    (stage, *_) = stages_of("causal")
    Made(workspace).run(stage, 3600.0, {}, HELD | {"gpus": 1, "cpus": 24, "ram_gb": 6.0, "cluster": "jean-zay"})
    return workspace


def write_profile(pue: float, rule: str) -> None:
    own = SHIPPED.replace("pue: {value: 1.2,", f"pue: {{value: {pue},").replace("rule: cores-share", f"rule: {rule}")
    Path("configs/clusters/jean-zay.yaml").write_text(own)


def plan(workspace: Workspace, chain: str) -> None:
    write_chains(workspace, [Plan(chain, tuple(stages_of("causal")))], load_cluster("jean-zay"))


def figures(workspace: Workspace, budget: Path) -> dict[str, float]:
    """Return the grams and billed hours of the chain `first` by each verb, called in the current folder."""
    verbs = {"status": status.command, "report": report.command, "energy": energy.command, "budget": budgets.command}
    names = {"budget": budget}
    read = {
        verb: json.loads(invoke(command, names.get(verb, "first"), "-w", workspace.root, "--json").stdout)
        for verb, command in verbs.items()
    }
    spent = {name: one["spent"] for name, one in read["budget"][0]["measures"].items()}
    return {
        "status, g": _estimated(read["status"]["chains"][0]["energy"])["co2_g"],
        "report, g": _estimated(read["report"]["total"]["energy"])["co2_g"]["expected"],
        "energy, g": _estimated(read["energy"]["chains"][0]["sites"][0]["energy"])["co2_g"]["expected"],
        "budget, g": spent["co2_kg"] * 1000,
        "report, billed": read["report"]["total"]["billed_hours"]["value"],
        "budget, billed": spent["billed_hours"],
    }


def warned(workspace: Workspace) -> list[bool]:
    """Whether report, energy and budget say that the file has other constants."""
    commands = (report.command, energy.command, budgets.command)
    return ["has other constants here" in invoke(one, "-w", workspace.root).stderr for one in commands]


def _estimated(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next(row for row in rows if row["method"] == "M2 estimated")


def expected(pue: float, billed: float) -> dict[str, Any]:
    grams, hours = pytest.approx(pue * IT_G), pytest.approx(billed)
    return {f"{verb}, g": grams for verb in ("status", "report", "energy", "budget")} | {
        f"{verb}, billed": hours for verb in ("report", "budget")
    }


def test_every_verb_has_the_constants_of_the_last_plan_in_every_folder(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Path.cwd() / "configs/budgets/all.yaml"
    assert figures(workspace, budget) == expected(1.1, 1.0)
    monkeypatch.chdir(tmp_path)
    assert figures(workspace, budget) == expected(1.1, 1.0), "not those of the shipped profile of that name"


def test_a_plan_is_written_again_only_with_another_version_of_its_profile(workspace: Workspace) -> None:
    plans = [Plan("first", tuple(stages_of("causal")))]
    assert plans_to_write(workspace, plans, load_cluster("jean-zay")) == []
    write_profile(1.3, "gpu")
    assert plans_to_write(workspace, plans, load_cluster("jean-zay")) == plans
    plan(workspace, "second")
    assert plans_to_write(workspace, plans, load_cluster("jean-zay")) == [], "the last plan counts"
    write_profile(1.1, "gpu")
    assert plans_to_write(workspace, plans, load_cluster("jean-zay")) == plans


def test_a_changed_profile_counts_once_any_of_its_chains_is_planned_again(workspace: Workspace) -> None:
    budget = Path.cwd() / "configs/budgets/all.yaml"
    write_profile(1.3, "whole-node")
    assert figures(workspace, budget) == expected(1.1, 1.0)
    assert warned(workspace) == [True] * 3
    plan(workspace, "second")
    assert figures(workspace, budget) == expected(1.3, 4.0)
    assert warned(workspace) == [False] * 3
