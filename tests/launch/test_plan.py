"""`detour plan` for a recipe and for sweeps of any size: its text, and that it fits the page."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from detour.config.fields import File
from detour.errors import UserError
from detour.launch import plan as plan_verb
from detour.launch.text.plan_tree import MOST_LINES
from detour.ledger.claims import claim
from detour.ledger.events import JobIntended, JobsCommitted, JobsDropped
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.orchestration import plans
from detour.orchestration.plans import inspect_entry
from detour.planning.origins import Content
from detour.scheduler.tags import Tag, unit_of

CONFIGS = Path(__file__).parents[2] / "configs"
QUICKSTART = CONFIGS / "recipes" / "quickstart.yaml"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(plan_verb.command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def as_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json"))


def write_sweep(path: Path, axes: str, seeds: int = 0) -> Path:
    more = f"seeds: [{', '.join(map(str, range(seeds)))}]\n" if seeds else ""
    path.write_text(f"name: s\nrecipe: {QUICKSTART}\naxes:\n{axes}{more}")
    return path


DECAYS = "  decay: {key: phases.mlm.tokens, values: [30k, 60k, 90k]}\n"


def test_one_seed_is_singular(workspace: Workspace) -> None:
    text = run(QUICKSTART, "benchmark.seeds=[42]", "-w", workspace.root)
    assert "single label, 1 seed, 3 epochs" in text
    assert "1 result " in text


def test_the_base_recipe_has_the_published_steps_and_a_separate_price(workspace: Workspace) -> None:
    text = run(CONFIGS / "recipes" / "moderncamembert-bio-base.yaml", "-w", workspace.root, "--cluster", "jean-zay")
    assert "10B tokens = 3,179 steps, 32 warm-up" in text
    assert "1B tokens = 318 steps" in text
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("pretraining"))
    assert row[:3] == ["pretraining", "2", "16.0"]
    assert "0.46" in row
    assert "can be priced but not run" in text, "its corpora are not on this machine"
    assert max(map(len, text.splitlines())) <= 100


def test_a_plan_says_why_its_tasks_cannot_be_run(workspace: Workspace) -> None:
    text = run("quickstart", "benchmark.tasks.icd10-chapters.split=null", "-w", workspace.root)
    assert "benchmark icd10-chapters cannot be evaluated: icd10-chapters: give one of `split`" in text
    assert text.splitlines()[-1] == "This plan can be priced but not run."


def test_one_chain_of_one_seed_and_one_task_is_not_a_plural(workspace: Workspace, tmp_path: Path) -> None:
    text = run("quickstart", "benchmark.seeds=[1]", "-w", workspace.root)
    assert "single label, 1 seed, 3 epochs" in text
    assert "1 result " in text
    sweep = tmp_path / "one.yaml"
    sweep.write_text("name: one\nrecipe: quickstart\nseeds: [1]\n")
    text = run(sweep, "benchmark.seeds=[1]", "-w", workspace.root)
    assert "1 chain needs 8 stages; sharing saves 0." in text


def test_a_plan_names_what_is_frozen_and_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    freeze = "[{first: 0, last: 0, embeddings: true}]"
    unused = "{name: unused, package: edsnlp, path: resources/cim10.csv.gz, column: long, format: csv, weight: 0}"
    text = run("quickstart", f"phases.mlm.freeze={freeze}", f"data.sources.unused={unused}", "-w", workspace.root)
    assert "masked 15%, layer 0 and embeddings frozen, 60k tokens" in text
    assert " icd10-labels: 512-token rows" in text
    text = run("quickstart", "phases.mlm.freeze=[{first: 0, last: 0}, {first: 2, last: 3}]", "-w", workspace.root)
    assert "masked 15%, layers 0, 2-3 frozen, 60k tokens" in text


def test_the_paper_sweep_shows_what_sharing_saves(workspace: Workspace) -> None:
    text = run(CONFIGS / "sweeps" / "paper.yaml", "-w", workspace.root, "--cluster", "jean-zay")
    assert "8,192-token rows, tokenizer moderncamembert-base  (16 chains)" in text, "the differing part is not cut off"
    assert "masked 15%, layers 0-7 frozen, 1B tokens" in text
    assert "22 chains need 1,670 stages; sharing saves 270." in text
    assert "pretrain 29 for 44" in text
    assert "GPU-h with sharing" in text
    assert "GPU-h without sharing" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ") and "(" in line}
    assert float(rows["evaluation"].split()[2]) > 50
    assert "*" in rows["total"]
    assert "without 160 stages of unknown duration" in text, "eight English tasks have no published size"
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("name", ["paper", "quickstart", "moderncamembert-bio-base"])
def test_a_narrow_terminal_has_every_figure_of_the_price_and_no_long_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    figures = {}
    for columns in ("80", "120"):
        monkeypatch.setenv("COLUMNS", columns)
        text = run(name, "-w", workspace.root, "--cluster", "jean-zay")
        assert max(map(len, text.splitlines())) <= int(columns)
        rows = [line.split() for line in text.splitlines() if line.startswith(("  pretraining ", "  total "))]
        figures[columns] = [row[:1] + row[1 if columns == "80" else 2 :] for row in rows]
    assert figures["80"] == figures["120"]


def test_a_narrow_terminal_shows_what_stages_do_and_omits_their_ids(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = run(QUICKSTART, "-w", workspace.root)
    assert "causal, 300k tokens = 74 steps, 8 warm-up\n" in text
    assert "prepare-" not in text


def test_the_json_of_a_sweep_holds_every_stage_once_and_every_chain(workspace: Workspace) -> None:
    data = as_json(CONFIGS / "sweeps" / "decay-lengths.yaml", "-w", workspace.root, "--cluster", "jean-zay")
    assert len(data["chains"]) == 10
    assert {stage for chain in data["chains"] for stage in chain["stages"]} == set(data["stages"])
    assert data["needed"] - data["saved"] == len(data["stages"]) == len(data["price"]["stages"])
    apart = data["price"]["gpu_hours_without_sharing"]["expected"]
    assert apart > 2 * data["price"]["total"]["gpu_hours"]["expected"]
    assert data["price"]["parts"]["pretraining"]["stages"] == 12


def test_an_unknown_constant_of_a_site_is_null(workspace: Workspace) -> None:
    (card, _) = as_json(QUICKSTART, "-w", workspace.root, "--cluster", "alps")["price"]["total"]["energy"]
    assert (card["pue"], card["facility_energy_kwh"], card["co2_g"]) == (None, None, None)
    assert card["grid_g_per_kwh"]["value"] == 34.843


def test_six_chains_are_shown_as_a_tree(workspace: Workspace, tmp_path: Path) -> None:
    arms = "  arm: {cases: {clm: {}, mlm: {phases.clm: {name: mlm-30, objective: masked, masking_rate: 0.3}}}}\n"
    text = run(write_sweep(tmp_path / "s.yaml", arms + DECAYS), "-w", workspace.root)
    tree = [line for line in text.splitlines() if "─" in line]
    assert len(tree) == 1 + 2 * (1 + 3)
    assert tree[0].startswith("└─ prepare  icd10-labels: 512-token rows")
    assert tree[0].endswith("(6 chains)")
    assert tree[1].endswith("(3 chains)")
    assert tree[2].endswith("s-clm-30k")


@pytest.mark.parametrize("seeds", [20, 330])
def test_many_chains_are_folded_by_their_differences(workspace: Workspace, tmp_path: Path, seeds: int) -> None:
    text = run(write_sweep(tmp_path / "s.yaml", DECAYS, seeds), "-w", workspace.root)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    tree = [line for line in lines if "─" in line]
    assert len(tree) <= MOST_LINES
    if seeds > 100:
        assert any(f"x{seeds}, differing in seeds.training" in line for line in tree)
    else:
        assert sum("seeds.training" in line for line in tree) == seeds


def test_a_tree_that_cannot_be_folded_is_cut_and_says_so(workspace: Workspace, tmp_path: Path) -> None:
    values = ", ".join(f"{number}k" for number in range(30, 230))
    axis = f"  decay: {{key: phases.mlm.tokens, values: [{values}]}}\n"
    text = run(write_sweep(tmp_path / "s.yaml", axis), "-w", workspace.root)
    assert "... and 112 more lines; --json has them all" in text


def test_done_failed_and_in_flight_stages_are_reported(workspace: Workspace) -> None:
    stages = as_json(QUICKSTART, "-w", workspace.root)["stages"]
    ids = [f"{stage['kind']}-{stage['key']}" for stage in stages]
    for stage_id in ids[:2]:
        workspace.output(stage_id).mkdir(parents=True)
        workspace.manifest(stage_id).write_text("{}")
    for stage_id in ids[2:]:
        workspace.stage(stage_id).mkdir(parents=True)
    workspace.failure(ids[-1]).write_text('{"reason": "a result is missing"}')
    sent = [stage_id for stage_id in ids if stage_id.startswith("evaluate")]
    tag = str(Tag(workspace_id(workspace.root), unit_of(sent), 1, "s1"))
    withdrawn = str(Tag(workspace_id(workspace.root), ids[4], 1, "s2"))
    with Journal.open(workspace, "test") as journal, claim(workspace, ids[3], "a test"):
        journal.append(JobIntended(tags=[tag], tasks=[[stage_id] for stage_id in sent], dependency=""))
        journal.append(JobsCommitted(tags=[tag]))
        journal.append(JobIntended(tags=[withdrawn], tasks=[[ids[4]]], dependency=""))
        journal.append(JobsDropped(tags=[withdrawn], why="withdrawn"))
        text = run(QUICKSTART, "-w", workspace.root)
        standing = as_json(QUICKSTART, "-w", workspace.root)["standing"]
    assert f"{len(ids)} stages: 2 done, 4 in flight, 1 failed, 3 new." in text
    assert standing == {ids[0]: "done", ids[1]: "done", ids[-1]: "failed", ids[3]: "in flight"} | dict.fromkeys(
        sent, "in flight"
    )


def test_dependents_of_a_failed_stage_are_not_in_flight(workspace: Workspace) -> None:
    ids = [f"{stage['kind']}-{stage['key']}" for stage in as_json(QUICKSTART, "-w", workspace.root)["stages"]]
    for stage_id in ids:
        workspace.stage(stage_id).mkdir(parents=True)
    workspace.failure(ids[2]).write_text('{"reason": "gate"}')
    tags = [str(Tag(workspace_id(workspace.root), stage_id, 1, "s1")) for stage_id in ids]
    with Journal.open(workspace, "test") as journal:
        for tag, stage_id in zip(tags, ids, strict=True):
            journal.append(JobIntended(tags=[tag], tasks=[[stage_id]], dependency=""))
        journal.append(JobsCommitted(tags=tags))
        text = run(QUICKSTART, "-w", workspace.root)
    assert "10 stages: 2 in flight, 1 failed, 7 new." in text


def test_the_remaining_cost_is_reported_once_something_is_done(workspace: Workspace) -> None:
    recipe = CONFIGS / "recipes" / "moderncamembert-bio-base.yaml"
    data = as_json(recipe, "-w", workspace.root)
    training = f"pretrain-{data['stages'][1]['key']}"
    workspace.output(training).mkdir(parents=True)
    workspace.manifest(training).write_text("{}")
    text = run(recipe, "-w", workspace.root, "--cluster", "jean-zay")
    left = next(line for line in text.splitlines() if line.startswith("GPU-h still to run"))
    assert left.endswith("for 78 stages not done or in flight")
    assert float(left.split()[4]) < 7, "of 20.6"


def test_every_file_is_read_once_for_any_number_of_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(entry: File | str) -> Content | None:
        looked.append(entry if isinstance(entry, str) else entry.path)
        return inspect_entry(entry)

    monkeypatch.setattr(plans, "inspect_entry", look)
    planned = plans.load_plans(write_sweep(tmp_path / "s.yaml", DECAYS, 50))
    assert len(planned.plans) == 150
    assert looked == ["resources/cim10.csv.gz"]


def test_an_unknown_cluster_gives_a_plan_without_a_price(workspace: Workspace) -> None:
    text = run(QUICKSTART, "-w", workspace.root, "--cluster", "local")
    assert "unknown" in text
    assert max(map(len, text.splitlines())) <= 100


def test_applicable_budgets_state_whether_the_plan_would_fit(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "configs" / "budgets"
    folder.mkdir(parents=True)
    (folder / "ours.yaml").write_text("name: ours\nscope: {cluster: jean-zay}\ngpu_hours: {hard: 250}\n")
    (folder / "tight.yaml").write_text("name: tight\nscope: {cluster: jean-zay}\ngpu_hours: {hard: 10}\n")
    (folder / "other.yaml").write_text("name: other\nscope: {cluster: lumi-g}\ngpu_hours: {hard: 1}\n")
    monkeypatch.chdir(tmp_path)
    recipe = CONFIGS / "recipes" / "moderncamembert-bio-base.yaml"
    text = run(recipe, "benchmark=null", "-w", workspace.root, "--cluster", "jean-zay")
    shown = [line for line in text.splitlines() if line.startswith("budget ")]
    assert "default limits" not in text, "prepare is of unknown duration, and takes no GPU"
    asked = "22.8 GPU-h asked + 0 spent + 0 reserved"
    assert shown == [f"budget ours: {asked} of 250: fits", f"budget tight: {asked} of 10: over the hard cap"]


def test_a_cap_on_an_unknown_amount_is_shown_as_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "configs" / "budgets"
    folder.mkdir(parents=True)
    (folder / "ours.yaml").write_text("name: ours\nenergy_kwh: {hard: 5}\nco2_kg: {soft: 5}\n")
    monkeypatch.chdir(tmp_path)
    text = run(QUICKSTART, "-w", workspace.root, "--cluster", "lumi-g")
    assert [line for line in text.splitlines() if line.startswith("budget ")] == [
        "budget ours: 0 kWh asked + 0 spent + 0 reserved of 5, without 10 stages of unknown amount: refused",
        "budget ours: 0 kg CO2eq asked + 0 spent + 0 reserved of 5, without 10 stages of unknown amount: fits",
    ]


def test_without_gpus_hours_and_unknowns_are_reported(workspace: Workspace) -> None:
    text = run(CONFIGS / "sweeps" / "quickstart-sweep.yaml", "-w", workspace.root, "--cluster", "local")
    assert "GPU-h" not in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert rows["pretraining"] == ["pretraining", "6", "unknown", "0"]
    assert rows["total"][1] == "33"
    assert "* without 25 stages of unknown duration" in text
    assert "without queueing, and without prepare, pretrain clm," in text


def test_grams_by_hour_fit_80_columns_and_equal_those_in_json(workspace: Workspace, tmp_path: Path) -> None:
    first_s = time.time() // 3600 * 3600
    rows = (f"{datetime.fromtimestamp(first_s + 3600 * hour, UTC).isoformat()},{40 + hour % 24}" for hour in range(72))
    factors = tmp_path / "factors.csv"
    factors.write_text("hour,g_per_kwh\n" + "\n".join(rows))
    asked = [CONFIGS / "recipes" / "moderncamembert-bio-base.yaml", "-w", workspace.root, "--cluster", "jean-zay"]
    shown = run(*asked, "--when", "--factors", factors).partition("When to start ")[2].splitlines()
    assert shown[0] == "moderncamembert-bio-base: kg CO2eq by hour of start (UTC, M2)"
    assert shown[-1] == "  Advisory: nothing is scheduled by this."
    assert max(map(len, [f"When to start {shown[0]}", *shown[1:]])) <= 80
    found = as_json(*asked, "--factors", factors)["when"]
    assert 60 < len(found["starts"]) < 72
    grams = [start["co2_g"]["expected"] for start in found["starts"]]
    assert found["least"]["co2_g"]["expected"] == min(grams)


def test_grams_by_hour_need_a_site_and_factors(workspace: Workspace) -> None:
    for option in (["--when"], ["--factors", "f.csv"], ["--gpus", "4"]):
        with pytest.raises(UserError, match="--when and --factors need --cluster"):
            run(QUICKSTART, "-w", workspace.root, *option)
    with pytest.raises(UserError, match=r"--factors, or set site\.grid_hourly in the profile of jean-zay"):
        run(QUICKSTART, "-w", workspace.root, "--when", "--cluster", "jean-zay")
