"""Scores of hundreds of forecasts: losses and the figure of `detour status`, recomputed from raw journal lines."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from detour.launch.status import command
from detour.ledger.events import AttemptStarted, ForecastMade, JobIntended, StageSubmitted
from detour.ledger.journal import Journal, command_journal
from detour.ledger.workspace import Workspace
from detour.orchestration.forecasts import forecast
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from tests.housekeeping.workspaces import make_workspace

JOBS = 150


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Each job has several forecasts, later ones better, and starts; a few have none before they start."""
    chance = random.Random(5)
    stages = {f"pretrain-{number}": () for number in range(JOBS)}
    workspace = make_workspace(tmp_path_factory.mktemp("scores") / "w", stages, {"base": tuple(stages)})
    for stage in stages:
        workspace.manifest(stage).unlink()
    order = chance.sample(range(JOBS), JOBS)
    with command_journal(workspace) as journal:
        for number in order:
            stage, job = f"pretrain-{number}", str(1000 + number)
            journal.append(JobIntended(tags=[], tasks=[[stage]], dependency="", wall_s=3600))
            journal.append(StageSubmitted(), stage=stage, job=job)
    for number in order:
        with Journal.open(workspace, f"pretrain-{number}.0001") as journal:
            journal.append(AttemptStarted(node="n1"), stage=f"pretrain-{number}", job=str(1000 + number), attempt=1)
    started = {line["stage"]: line["wall_s"] for line in lines(workspace) if line["kind"] == "attempt.started"}
    with command_journal(workspace) as journal:
        for number in order:
            stage = f"pretrain-{number}"
            for before_s in (7200.0, 60.0, -60.0) if number % 10 else (-60.0,):
                p50_s = started[stage] + chance.uniform(-1, 1) * max(1.0, before_s)
                made = ForecastMade(
                    method="history",
                    begun_s=started[stage] - 9000,
                    start_p50_s=p50_s,
                    start_p90_s=p50_s + chance.uniform(0, 1) * abs(before_s),
                    made_s=started[stage] - before_s,
                )
                journal.append(made, stage=stage, job=str(1000 + number))
    silent = Slurm(lambda *_: CommandResult(1, "", "down"))
    forecast(workspace, slurm=silent)
    forecast(workspace, slurm=silent)
    return workspace


def lines(workspace: Workspace) -> list[dict[str, Any]]:
    files = Path(workspace.root, "ledger").rglob("*.jsonl")
    return [json.loads(line.partition(" ")[2]) for file in files for line in file.read_text().splitlines()]


def loss(actual: float, quantile: float, share: float) -> float:
    return share * (actual - quantile) if actual > quantile else (1 - share) * (quantile - actual)


def test_each_forecast_from_before_the_start_has_one_score_with_its_loss(workspace: Workspace) -> None:
    known = lines(workspace)
    started = {one["job"]: one["wall_s"] for one in known if one["kind"] == "attempt.started"}
    expected = {}
    for one in known:
        if one["kind"] == "forecast.made" and one["data"]["made_s"] <= (actual := started[one["job"]]):
            both = ((one["data"]["start_p50_s"], 0.5), (one["data"]["start_p90_s"], 0.9))
            losses = [loss(actual, quantile, share) for quantile, share in both]
            expected[one["job"], one["data"]["made_s"]] = sum(losses) / 2
    scored = [one for one in known if one["kind"] == "forecast.scored"]
    found = {(one["job"], one["data"]["made_s"]): one["data"]["pinball_s"] for one in scored}
    assert len(scored) == len(expected) == 2 * (JOBS - JOBS // 10)
    assert found == pytest.approx(expected)


def test_the_status_agrees_with_a_count_over_the_journals_for_the_last_forty_jobs(workspace: Workspace) -> None:
    first: dict[str, dict[str, Any]] = {}
    for one in lines(workspace):
        if one["kind"] == "forecast.scored":
            first[one["job"]] = min(one["data"], first.get(one["job"], one["data"]), key=lambda data: data["made_s"])
    last = [first[job] for job in sorted(first, key=lambda job: (first[job]["actual_s"], job))[-40:]]
    shown = json.loads(CliRunner().invoke(command, ["-w", str(workspace.root), "--json", "--offline"]).stdout)
    assert shown["forecasts"] == pytest.approx(
        {
            "jobs": 40,
            "by_p50": sum(one["actual_s"] <= one["p50_s"] for one in last) / 40,
            "by_p90": sum(one["actual_s"] <= one["p90_s"] for one in last) / 40,
            "pinball_s": sum(one["pinball_s"] for one in last) / 40,
        }
    )
