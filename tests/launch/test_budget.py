"""`detour budget`: bars, burn-down and forecast from a real ledger, as text and as JSON."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from detour.launch import budget
from detour.launch.text.budget import bar, exhaustion
from detour.ledger.events import BudgetReserved
from detour.ledger.workspace import Workspace
from tests.support.past import Past

DAY_S = 86_400.0
FACTS: dict[str, str | None] = {"account": "abc@h100", "user": "ada\x1b[31m", "chain": "base"}
HOURS = 6.0


def train(past: Past, stage: str, start_s: float, *, ended: bool = True, why: str | None = None) -> None:
    """Record a submission and its job: 24 GPU-h if it ended."""
    over = ["abc"] if why else []
    event = BudgetReserved(
        submission=stage, facts=FACTS, stages=[{"ids": [stage], "amounts": {"gpu_hours": 30.0}}], over=over, why=why
    )
    past.add(event.kind, start_s - 2, event.to_json())
    past.add("budget.committed", start_s - 1, {"submission": stage})
    past.attempt(stage, start_s, HOURS * 3600 if ended else None, gpus=4, cpus=96, cluster="jean-zay")


@pytest.fixture
def past(workspace: Workspace) -> Workspace:
    """Sixty days with one training a day; another one was submitted and has not ended."""
    written, now_s = Past(workspace), time.time()
    for day in range(60):
        why = "a reason\x1b[2J" if day == 30 else None
        train(written, f"pretrain-{day:016d}", now_s - (60 - day) * DAY_S, why=why)
    train(written, "pretrain-last", now_s - 5.0, ended=False)
    written.write()
    return workspace


def write_budget(folder: Path, hard: float, *, days_left: int = 40, more: str = "") -> Path:
    now_s = time.time()
    start, end = (datetime.fromtimestamp(at, UTC).date() for at in (now_s - 60 * DAY_S, now_s + days_left * DAY_S))
    path = folder / "budget.yaml"
    path.write_text(
        f"name: abc\nscope: {{account: abc@*}}\nperiod: {{start: {start}, end: {end}}}\n"
        f"gpu_hours: {{soft: {hard * 0.9}, hard: {hard}}}\n{more}"
    )
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(budget.command, [str(one) for one in arguments])


def test_fast_spending_is_shown_with_the_day_the_budget_ends(past: Workspace, tmp_path: Path) -> None:
    file = write_budget(tmp_path, 2000.0, more="co2_kg: {hard: 300}\n")
    text = run(file, "-w", past.root).output
    assert "1,440 spent + 30.0 reserved of 2,000 (soft 1,800)" in text
    assert "used up on " in text
    assert "earliest" not in text, "a constant rate gives one day"
    assert "GPU-h left by day" in text
    assert "base by ada [31m: a reason [2J" in text
    assert "1 reservation in force" in text
    assert "base by ada [31m, 1 stage\n" in text
    assert "\x1b" not in text
    narrow = CliRunner().invoke(budget.command, [str(file), "-w", str(past.root)], env={"COLUMNS": "80"}).output
    for shown, columns in ((text, 100), (narrow, 80)):
        assert max(map(len, shown.splitlines())) <= columns

    measures = json.loads(run(file, "-w", past.root, "--json").output)[0]["measures"]
    hours = measures["gpu_hours"]
    assert hours["spent"] == pytest.approx(1440)
    assert hours["reserved"] == 30.0
    assert hours["pace"] == pytest.approx(2000 * 60 / 100, rel=0.02)
    assert hours["rate_per_day"]["expected"] == pytest.approx(24, rel=0.05)
    left_days = (2000 - 1440) / 24
    expected = datetime.fromtimestamp(time.time() + left_days * DAY_S, UTC).date()
    assert abs((datetime.fromisoformat(hours["exhausted"][1]).date() - expected).days) <= 2
    assert hours["lapses"] is None
    kg = 60 * HOURS * (4 * 0.7 + 96 * 0.0073) * 1.2 * 34 / 1000
    assert measures["co2_kg"]["spent"] == pytest.approx(kg, rel=1e-3)
    assert measures["co2_kg"]["unknown"] == 1, "the reservation has no CO2"


def test_slow_spending_is_shown_with_what_will_expire(past: Workspace, tmp_path: Path) -> None:
    file = write_budget(tmp_path, 10_000.0)
    assert "will lapse unused" in run(file, "-w", past.root).output
    hours = json.loads(run(file, "-w", past.root, "--json").output)[0]["measures"]["gpu_hours"]
    assert hours["lapses"]["expected"] == pytest.approx(10_000 - 1440 - 24 * 40.5, rel=0.02)
    assert hours["exhausted"] == [None, None, None]


def test_a_reservation_that_will_not_be_used_can_be_released(past: Workspace, tmp_path: Path) -> None:
    file = write_budget(tmp_path, 2000.0)
    text = run(file, "-w", past.root, "--release", "pretrain-last").output
    assert "1,440 spent + 0 reserved" in text
    wrong = run(file, "-w", past.root, "--release", "nobody")
    assert wrong.exception is not None
    assert "no submission 'nobody'" in str(wrong.exception)


def test_other_periods_and_empty_workspaces_are_no_error(tmp_path: Path, past: Workspace) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("name: old\nperiod: {start: 2020-01-01, end: 2020-12-31}\ngpu_hours: {hard: 5}\n")
    assert "old: outside its period" in run(file, "-w", past.root).output
    empty = run(write_budget(tmp_path, 100.0), "-w", tmp_path / "nothing")
    assert empty.exit_code == 0
    assert "0 spent + 0 reserved of 100" in empty.output


def test_the_shipped_example_is_not_a_budget_of_a_folder_without_configs(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("-w", workspace.root).output.startswith("No budget. Copy /")
    assert run("-w", workspace.root, "--json").output == "[]\n"


def test_an_exceeded_cap_is_shown_instead_of_a_day(past: Workspace, tmp_path: Path) -> None:
    text = run(write_budget(tmp_path, 1000.0), "-w", past.root).output
    assert "used up: 440 over the cap" in text
    assert "used up on" not in text


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ((None, None, None), ""),
        ((1, None, None), "used up on 1970-01-02 at the highest rate; not in this period at the expected rate"),
        (
            (1, 2, None),
            "used up on 1970-01-03, on 1970-01-02 at the highest rate; not in this period at the lowest rate",
        ),
        ((2, 2, None), "used up on 1970-01-03; not in this period at the lowest rate"),
        ((1, 2, 3), "used up on 1970-01-03 (1970-01-02 to 1970-01-04)"),
        ((2, 2, 2), "used up on 1970-01-03"),
    ],
)
def test_the_day_of_exhaustion_is_worded_for_each_known_rate(
    days: tuple[int | None, int | None, int | None], message: str
) -> None:
    early_s, expected_s, late_s = (None if day is None else day * DAY_S for day in days)
    assert exhaustion(early_s, expected_s, late_s) == message


@pytest.mark.parametrize(
    ("spent", "reserved", "pace", "drawn"),
    [
        (0, 0, None, "·" * 40),
        (50, 25, None, "█" * 20 + "▒" * 10 + "·" * 10),
        (120, 0, None, "█" * 40),
        (50, 0, 75, "█" * 20 + "·" * 10 + "│" + "·" * 9),
        (0, 0, 100, "·" * 39 + "│"),
    ],
)
def test_a_bar_shows_spent_and_reserved_shares_and_the_pace(
    spent: float, reserved: float, pace: float | None, drawn: str
) -> None:
    assert bar(spent, reserved, pace, 100.0, 40) == drawn
