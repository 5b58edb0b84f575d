"""`detour prices`: estimates compared with actual times, and how the next plan uses them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import detour
from detour.accounting.energy import Band
from detour.config.fields import File
from detour.config.loading import load_cluster
from detour.launch import prices
from detour.ledger.events import SpeedMeasured
from detour.ledger.journal import command_journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from detour.planning.build import Planner
from detour.planning.files import read_stage
from detour.planning.origins import Content
from detour.planning.stage import Stage
from detour.pricing import history as past_stages
from detour.pricing.comparison import chain_priced
from detour.pricing.estimates import START_UP_S
from detour.pricing.history import LedgerHistory, finished_stages
from detour.pricing.plan_price import price_in
from detour.pricing.price import Price, prices_of, work_signature
from tests.support.no_history import NoHistory
from tests.support.past import Past
from tests.support.recipes import make_recipe

START_S = 1.7e9


def stages_of(**changes: Any) -> Sequence[Stage]:
    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((Path(entry.path),), ("f",), 1_000_000)

    return Planner(inspect).plan(make_recipe({key.replace("__", "."): value for key, value in changes.items()})).stages


def finish(workspace: Workspace, past: Past, stage: Stage, elapsed_s: float, at_s: float, **more: Any) -> None:
    folder = workspace.stage(stage.id)
    (folder / "output").mkdir(parents=True, exist_ok=True)
    (folder / "stage.json").write_text(json.dumps(stage.to_json()))
    workspace.manifest(stage.id).write_text("{}")
    past.attempt(stage.id, at_s, elapsed_s, **{"gpus": 0, "cpus": 2, "cluster": "local", **more})


def run(workspace: Workspace, *options: str) -> str:
    result = CliRunner().invoke(prices.command, ["-w", str(workspace.root), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def quote(stage: Stage, wall_s: float) -> dict[str, Price]:
    return {stage.id: Price(stage.kind, 0, 2, Band.around(wall_s, 0.05), Band(0, 0, 0), None, 0, 0, "by hand")}


def test_after_one_calibration_run_similar_trainings_are_priced_by_it(workspace: Workspace) -> None:
    """8,192 tokens took 10 s to start and 40 s to train, so 16,384 tokens take 90 s on the same machine."""
    past, cluster = Past(workspace), load_cluster("local")
    clm = stages_of()[1]
    assert prices_of([clm], cluster, NoHistory())[clm.id].wall_s is None
    finish(workspace, past, clm, 50.0, START_S, start_up_s=10.0)
    past.write()
    history = LedgerHistory(finished_stages(workspace, LedgerView(workspace).state), "local", {})
    longer = stages_of(phases__clm__tokens=16384, seeds__training=5)[1]
    price = prices_of([longer], cluster, history)[longer.id]
    assert price.wall_s == Band.around(90.0, 0.10)
    elsewhere = LedgerHistory(finished_stages(workspace, LedgerView(workspace).state), "jean-zay", {})
    assert "measured here" not in prices_of([longer], load_cluster("jean-zay"), elsewhere)[longer.id].source


def test_before_any_stage_has_ended_a_benchmark_on_the_cluster_sets_the_price(workspace: Workspace) -> None:
    """16,384 tokens at 1,024 a second are 16 s, plus the assumed start."""
    clm = stages_of(phases__clm__tokens=16384)[1]
    signature = work_signature(clm)
    with command_journal(workspace) as journal:
        for cluster, tokens_per_s in (("local", 512.0), ("local", 1024.0), ("jean-zay", 1.0)):
            journal.append(
                SpeedMeasured(
                    cluster=cluster, signature=signature, tokens_per_s=tokens_per_s, device="CPU", versions={}
                )
            )
    state = LedgerView(workspace).state
    price = price_in(workspace, state, [clm], load_cluster("local")).prices[clm.id]
    assert price.source == "benchmarked here, start-up added"
    assert price.wall_s is not None
    assert price.wall_s.expected == pytest.approx(START_UP_S.expected + 16.0)


def test_every_finished_stage_is_compared_with_its_last_price_before_it_ran(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past(workspace)
    prepare, clm, *_ = stages_of()
    past.add("chain.priced", START_S - 20, chain_priced("tiny", "local", quote(clm, 10.0)).to_json())
    past.add("chain.priced", START_S - 10, chain_priced("tiny", "local", quote(clm, 100.0)).to_json())
    past.add("chain.priced", START_S + 10, chain_priced("tiny", "local", quote(clm, 1.0)).to_json())
    finish(workspace, past, prepare, 5.0, START_S - 30)
    finish(workspace, past, clm, 104.0, START_S)
    past.write()
    data = json.loads(run(workspace, "--json"))
    rows = {row["label"]: row for row in data["stages"]}
    assert rows["pretrain clm"]["expected_s"]["expected"] == 100.0
    assert rows["pretrain clm"]["error"] == pytest.approx(0.04)
    assert rows["pretrain clm"]["within"] is True
    assert rows["prepare"]["error"] is None
    kinds = {kind["kind"]: kind for kind in data["kinds"]}
    assert (kinds["pretrain"]["priced"], kinds["prepare"]["priced"]) == (1, 0)
    assert (kinds["prepare"]["expected_s"], kinds["prepare"]["actual_s"]) == (None, None)
    text = run(workspace)
    assert "expected 1m40s  +4%" in text
    assert "no price" in text
    assert max(map(len, text.splitlines())) <= 100
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, run(workspace).splitlines())) <= 80
    assert (
        run(workspace, "--cluster", "nowhere")
        == f"No stage has finished under the profile nowhere in {workspace.root} yet.\n"
    )


@pytest.mark.parametrize(("cluster", "gpus"), [("local", 4), ("jean-zay", 0)])
def test_a_chain_that_joins_a_job_does_not_replace_its_price(workspace: Workspace, cluster: str, gpus: int) -> None:
    past, clm = Past(workspace), stages_of()[1]
    other = {clm.id: replace(quote(clm, 25.0)[clm.id], gpus=gpus)}
    past.add("chain.priced", START_S - 20, chain_priced("tiny", "local", quote(clm, 100.0)).to_json())
    past.add("chain.priced", START_S - 10, chain_priced("joins", cluster, other).to_json())
    finish(workspace, past, clm, 104.0, START_S)
    past.write()
    assert json.loads(run(workspace, "--json"))["stages"][0]["error"] == pytest.approx(0.04)


def test_errors_are_summarized_by_kind(workspace: Workspace) -> None:
    past = Past(workspace)
    for number, took_s in enumerate((90.0, 105.0, 150.0)):
        clm = stages_of(seeds__training=number)[1]
        past.add("chain.priced", START_S - 1, chain_priced("tiny", "local", quote(clm, 100.0)).to_json())
        finish(workspace, past, clm, took_s, START_S + 1000 * number)
    past.write()
    (kind,) = json.loads(run(workspace, "--json"))["kinds"]
    assert kind == {
        "kind": "pretrain",
        "stages": 3,
        "priced": 3,
        "expected_s": 300.0,
        "actual_s": 345.0,
        "median_error": pytest.approx(0.05),
        "largest_error": pytest.approx(0.5),
        "within": 1,
    }


def test_the_next_estimate_comes_from_the_newest_stages_and_its_range_from_their_spread(workspace: Workspace) -> None:
    past, cluster = Past(workspace), load_cluster("local")
    for number, took_s in enumerate((1000.0, 90.0, 100.0, 110.0, 100.0, 100.0)):
        finish(workspace, past, stages_of(seeds__training=number)[1], took_s, START_S + 5000 * number)
    past.write()
    history = LedgerHistory(finished_stages(workspace, LedgerView(workspace).state), "local", {})
    new = stages_of(seeds__training=99)[1]
    price = prices_of([new], cluster, history)[new.id]
    assert price.wall_s is not None
    assert price.wall_s.expected == pytest.approx(100.0), "the one that took ten times as long is too old"
    assert price.wall_s.high == pytest.approx(110.0)
    assert price.source == "measured here, 5 stages"
    assert "tokens/s per device after 0 s (5 stages, +-10%)" in " ".join(run(workspace).split())


def test_several_attempts_count_in_full_but_calibrate_nothing(workspace: Workspace) -> None:
    past = Past(workspace)
    clm = stages_of()[1]
    past.attempt(clm.id, START_S, 30.0, outcome="interrupted", gpus=0, cpus=2, cluster="local")
    finish(workspace, past, clm, 40.0, START_S + 100, number=2)
    past.write()
    data = json.loads(run(workspace, "--json"))
    assert data["stages"][0]["attempts"] == 2
    assert data["stages"][0]["allocated_s"] == 70.0
    assert data["next"] == {"local": {}}


@pytest.mark.parametrize("junk", [b"", b"{}", b"[1]", b'{"kind": "pretrain"}'])
def test_an_invalid_stage_file_is_left_out(workspace: Workspace, junk: bytes) -> None:
    past = Past(workspace)
    clm = stages_of()[1]
    finish(workspace, past, clm, 40.0, START_S)
    past.write()
    (workspace.stage(clm.id) / "stage.json").write_bytes(junk)
    assert "No stage has finished" in run(workspace)


def test_invalid_prices_written_by_others_are_no_error(workspace: Workspace) -> None:
    past = Past(workspace)
    clm = stages_of()[1]
    for prices_data in (None, [7], [{"stages": [clm.id], "wall_s": "long"}], [{"stages": [clm.id], "wall_s": [1]}]):
        past.add("chain.priced", START_S - 1, {"prices": prices_data})
    finish(workspace, past, clm, 40.0, START_S)
    past.write()
    assert json.loads(run(workspace, "--json"))["stages"][0]["error"] is None


def test_stages_of_several_chains_are_shown_under_their_chains(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    past, cluster = Past(workspace), load_cluster("local")
    planned = detour.plan("quickstart-sweep")
    write_chains(workspace, planned.plans[:3], cluster)
    for number, stage in enumerate(planned.shared.stages.values()):
        if stage.kind in ("prepare", "pretrain"):
            finish(workspace, past, stage, 40.0, START_S + 100 * number)
    past.write()
    monkeypatch.setenv("COLUMNS", "80")
    text = run(workspace)
    _, _, table = text.partition("Stage by stage:\n")
    assert [line.partition("  local")[0].rstrip() for line in table.partition("\n\n")[0].splitlines()] == [
        "quickstart-clm-decay-30k and 2 other chains:",
        "  prepare",
        "quickstart-clm-decay-30k and 1 other chain:",
        "  pretrain clm",
        "quickstart-clm-decay-30k:",
        "  pretrain mlm",
        "quickstart-clm-decay-60k:",
        "  pretrain mlm",
        "quickstart-mlm-decay-30k:",
        "  pretrain mlm-30",
        "  pretrain mlm",
        "in no chain any more:",
        "  pretrain mlm",
    ]
    assert max(map(len, text.splitlines())) <= 80
    labels = {tuple(row["chains"]): row["label"] for row in json.loads(run(workspace, "--json"))["stages"]}
    assert labels["quickstart-clm-decay-60k",] == "pretrain mlm"


def test_prices_can_be_limited_to_one_cluster(workspace: Workspace) -> None:
    past = Past(workspace)
    prepare, clm, *_ = stages_of()
    finish(workspace, past, prepare, 5.0, START_S)
    finish(workspace, past, clm, 40.0, START_S, cluster="jean-zay", gpus=4)
    past.write()
    rows = json.loads(run(workspace, "--cluster", "jean-zay", "--json"))["stages"]
    assert [row["label"] for row in rows] == ["pretrain clm"]
    assert rows[0]["gpu_hours"] == pytest.approx(4 * 40 / 3600)


def test_a_price_reads_no_more_stages_than_count(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest five of its signature, and none of another kind, of another cluster or of several attempts."""
    past, cluster = Past(workspace), load_cluster("local")
    for number in range(8):
        prepare, clm, *_ = stages_of(seeds__training=number)
        finish(workspace, past, clm, 100.0 + number, START_S + 5000 * number)
    finish(workspace, past, prepare, 9.0, START_S)
    repeated, elsewhere = (stages_of(seeds__training=number)[1] for number in (8, 9))
    past.attempt(repeated.id, START_S + 60_000, 60.0, outcome="failed", cluster="local")
    finish(workspace, past, repeated, 60.0, START_S + 61_000, number=2)
    finish(workspace, past, elsewhere, 60.0, START_S + 70_000, cluster="jean-zay")
    past.write()
    state, new, read = LedgerView(workspace).state, stages_of(seeds__training=99)[1], list[str]()

    def counted(at: Workspace, stage_id: str) -> Stage:
        read.append(stage_id)
        return read_stage(at, stage_id)

    monkeypatch.setattr(past_stages, "read_stage", counted)
    price = price_in(workspace, state, [new], cluster)
    assert read == [stages_of(seeds__training=number)[1].id for number in (7, 6, 5, 4, 3)]
    everything = LedgerHistory(finished_stages(workspace, state), "local", {})
    assert price.prices == prices_of([new], cluster, everything)
