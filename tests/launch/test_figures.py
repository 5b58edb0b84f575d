"""The hours of one training, computed by hand in docs/accounting.md, in every place that shows them."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import detour as api
from detour.config.loading import load_cluster
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from tests.support.chains import detour, small
from tests.support.past import Past

PAGE = (Path(__file__).parents[2] / "docs" / "accounting.md").read_text()
GPUS = 4
RUN = re.compile(r"\| (\d\d:\d\d:\d\d) to (\d\d:\d\d:\d\d), (\w+) \|(.*)\|")
CLOCK = re.compile(r"\d\d:\d\d:\d\d")


def at_s(clock: str) -> float:
    return datetime.fromisoformat(f"2026-03-01T{clock}").replace(tzinfo=UTC).timestamp()


def record_runs(past: Past, stage: str) -> None:
    """Record the runs of the page's table, in sacct and the journal."""
    attempts = 0
    for start, end, state, words in RUN.findall(PAGE):
        run = {"source": "sacct", "start_s": at_s(start), "elapsed_s": at_s(end) - at_s(start), "state": state}
        past.add("job.accounted", at_s(end), {**run, "gpus": GPUS, "stages": [stage]}, job="7")
        if not CLOCK.search(words):
            continue
        attempts += 1
        first, progress, saved, last = (cell.strip(" ,done") for cell in words.split("|"))
        past.add("attempt.started", at_s(first), {"gpus": GPUS, "cluster": "slurm-local"}, stage, attempts)
        figures: dict[str, Any] = {"done": 1, "total": 2, "unit": "tokens", "figures": {}}
        past.add("progress", at_s(progress), figures, stage, attempts)
        if saved:
            past.add("checkpoint.saved", at_s(saved), {"step": 1, "tokens": 1}, stage, attempts)
        outcome = (
            {"outcome": "done", "exit_code": 0} if "done" in words else {"outcome": "interrupted", "exit_code": 85}
        )
        past.add("attempt.ended", at_s(last), outcome, stage, attempts)


@pytest.fixture
def training(workspace: Workspace) -> str:
    plans = api.plan(*small()).plans
    write_chains(workspace, plans, load_cluster("slurm-local"))
    stage = next(stage.id for stage in plans[0].stages if stage.kind == "pretrain")
    past = Past(workspace)
    record_runs(past, stage)
    past.write()
    return stage


def test_status_report_json_and_csv_show_the_documented_hours(
    workspace: Workspace, training: str, tmp_path: Path
) -> None:
    expected = {fate: float(seconds) for fate, seconds in re.findall(r"^\| ([a-z]+) \| (\d+) \|", PAGE, re.MULTILINE)}
    assert sum(expected.values()) == 9060
    at = ("-w", str(workspace.root))
    status = json.loads(detour("status", *at, "--json", "--offline").stdout)
    report = json.loads(detour("report", *at, "--json").stdout)
    detour("report", *at, "--format", "csv", "-o", tmp_path / "tables")
    shown = {row["id"]: row["gpu_hours"] for row in status["chains"][0]["stages"]}
    assert round(shown[training], 4) == 10.0667
    assert round(report["total"]["gpu_hours"]["value"], 4) == 10.0667
    assert report["stages"][training]["cost"]["fates_s"] == pytest.approx(expected)
    with next((tmp_path / "tables").rglob("attempts.csv")).open() as file:
        rows = [row for row in csv.DictReader(file) if row["stage_id"] == training]
    assert len(rows) == 3
    assert [row["reason"] for row in rows if row["outcome"] == "lost"] == ["NODE_FAIL"]
    assert sum(float(row["allocated_s"]) * int(row["gpus"]) for row in rows) / 3600 == pytest.approx(10.0667, abs=5e-5)
    for fate, seconds in expected.items():
        assert sum(float(row[f"{fate}_s"]) for row in rows) == pytest.approx(seconds)
