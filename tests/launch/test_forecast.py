"""`detour forecast` as a user calls it."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from detour.forecasting.own_history import History
from detour.forecasting.replay import replay
from detour.forecasting.waits import Wait, shape_of, waits_of
from detour.launch.forecast import command
from detour.launch.text.forecast import say_warnings
from detour.orchestration.forecasts import Forecasts
from detour.sacct.reading import read_rows
from tests.forecasting.histories import REGIMES, SHAPES, history

HEADER = "JobID|Account|State|Submit|Eligible|Start|End|Timelimit|AllocTRES|ReqTRES"


def printed(time_s: float | None) -> str:
    return "Unknown" if time_s is None else datetime.fromtimestamp(1.7e9 + time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def line(wait: Wait) -> str:
    gpus, limit_s = next(shape for shape in SHAPES if shape[0] == wait.shape.gpus)
    begun, tres = printed(wait.begun_s), f"cpu=8,gres/gpu={gpus},node=1"
    limit = f"{limit_s / 3600:02.0f}:00:00"
    if wait.started_s is None:
        return f"{wait.job}|{wait.account}|CANCELLED by 7|{begun}|{begun}|None|{printed(wait.left_s)}|{limit}||{tres}"
    started, ended = printed(wait.started_s), printed(wait.started_s + 60)
    return f"{wait.job}|{wait.account}|COMPLETED|{begun}|{begun}|{started}|{ended}|{limit}|{tres}|{tres}"


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forecast") / "jobs.txt"
    waits = history(REGIMES["wandering load"], 5, jobs=400)
    path.write_text("\n".join([HEADER, *map(line, waits), ""]))
    return path


def test_a_dump_is_replayed(dump: Path) -> None:
    data = json.loads(CliRunner().invoke(command, ["--replay", str(dump), "--json"]).output)
    expected = replay(waits_of(read_rows(dump)))
    assert expected.score is not None
    assert data["jobs"] == 400
    assert data["forecasts"] == expected.forecasts > 100
    assert data["score"]["coverage_p90"] == pytest.approx(expected.score.coverage_p90)


def test_the_outcomes_can_be_counted_independently(dump: Path, tmp_path: Path) -> None:
    table = tmp_path / "outcomes.csv"
    arguments = ["--replay", str(dump), "--outcomes", str(table), "--json"]
    score = json.loads(CliRunner().invoke(command, arguments).output)["score"]
    started = [row for row in csv.DictReader(table.open()) if row["wait_s"]]
    within = [float(row["wait_s"]) <= float(row["p90_s"]) for row in started]
    assert len(within) == score["n"]
    assert sum(within) / len(within) == pytest.approx(score["coverage_p90"])


def test_a_dump_without_a_header_is_read_by_the_given_columns(dump: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.txt"
    bare.write_text(dump.read_text().partition("\n")[2])
    named = ["--columns", HEADER.replace("|", ","), "--json"]
    assert json.loads(CliRunner().invoke(command, ["--replay", str(bare), *named]).output)["jobs"] == 400


def test_the_table_fits_80_columns(dump: Path) -> None:
    shown = CliRunner().invoke(command, ["--replay", str(dump)]).output
    assert "by the p90" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_short_history_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "jobs.txt"
    path.write_text(f"{HEADER}\n{line(history(REGIMES['steady'], 1, jobs=1)[0])}\n")
    result = CliRunner().invoke(command, ["--replay", str(path)])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "1 job, 0 of them with enough history for a forecast.",
        "A forecast needs 10 earlier bursts of the job's shape, most of them started.",
    ]


def test_if_most_jobs_start_at_once_the_shares_before_the_quantiles_are_shown_too(tmp_path: Path) -> None:
    path = tmp_path / "jobs.txt"
    starts = [Wait(str(day), "a", shape_of(*SHAPES[0]), day * 86_400.0, day * 86_400.0) for day in range(40)]
    path.write_text("\n".join([HEADER, *map(line, starts), ""]))
    shown = CliRunner().invoke(command, ["--replay", str(path)]).output
    assert shown.splitlines()[2].split()[:4] == ["forecasts", "30", "100.0%", "100.0%"]
    assert "Many waited equally long: 0% started before the p50, 0% before the p90." in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_long_warning_is_wrapped_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    warning = f"sacct failed ({'Connection refused; ' * 12}): without past jobs there is no forecast"
    say_warnings(Forecasts(0.0, (), (History(0.0, (), warning),), None, (warning, warning)))
    shown = capsys.readouterr().err
    assert max(map(len, shown.splitlines())) <= 80
    assert " ".join(shown.split()) == f"warning: {warning}"
