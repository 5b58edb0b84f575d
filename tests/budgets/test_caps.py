"""Budgets: caps, scopes, periods, and messages about mistakes."""

from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.budgets.caps import Budget, Cap, Period, Scope, load_budget, load_budgets
from detour.config.problems import RecipeError

SHIPPED = Path(__file__).resolve().parents[2] / "configs" / "budgets"
DAYS = st.dates(date(2020, 1, 1), date(2035, 12, 31))


def test_the_shipped_example_applies_to_nothing_real() -> None:
    (example,) = load_budgets(SHIPPED)
    assert example.caps() == {"gpu_hours": Cap(soft=9000, hard=10_000), "co2_kg": Cap(hard=300)}
    assert example.scope.matches({"account": "example@h100", "cluster": "jean-zay"})
    assert not example.scope.matches({"account": "abc@h100"})
    assert not example.scope.matches({})


def test_a_scope_needs_everything_it_names() -> None:
    scope = Scope(account="abc@*", sweep="decay-*")
    assert scope.matches({"account": "abc@h100", "sweep": "decay-lengths", "user": "x"})
    assert not scope.matches({"account": "abc@h100", "sweep": "paper"})
    assert not scope.matches({"account": "abc@h100", "sweep": None})
    assert Scope().matches({})


def test_recurring_periods_have_their_windows() -> None:
    monthly = Period(every="month", start=date(2026, 1, 15))
    assert monthly.window(date(2026, 1, 14)) is None
    assert monthly.window(date(2026, 1, 20)) == (date(2026, 1, 15), date(2026, 1, 31))
    assert monthly.window(date(2028, 2, 1)) == (date(2028, 2, 1), date(2028, 2, 29))
    assert Period(every="quarter").window(date(2026, 11, 22)) == (date(2026, 10, 1), date(2026, 12, 31))
    assert Period(every="year").window(date(2026, 11, 22)) == (date(2026, 1, 1), date(2026, 12, 31))
    assert Period().window(date(2026, 11, 22)) == (None, None)


@given(day=DAYS, every=st.sampled_from(["month", "quarter", "year"]))
def test_windows_cover_every_day_once(day: date, every: str) -> None:
    period = Period.model_validate({"every": every})
    window = period.window(day)
    assert window is not None
    first, last = window
    assert first is not None
    assert last is not None
    assert first <= day <= last
    assert period.window(first) == period.window(last) == window
    assert period.window(last + timedelta(days=1)) != window


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("name: a\n", 1, "has no cap: give one of gpu_hours"),
        ("name: a\ngpu_hours: {}\n", 2, "gpu_hours: give `soft` or `hard` or both"),
        ("name: a\ngpu_hours: {soft: 5, hard: 3}\n", 2, "gpu_hours.soft: 5 is above `hard`, 3"),
        ("name: a\ngpu_hours: {hard: -3}\n", 2, "gpu_hours.hard: must be at least 0, not -3"),
        ("name: a\ngpu_hours: {hard: lots}\n", 2, 'expected a number, found "lots"'),
        ("name: a\ngpu_hour: {hard: 3}\nco2_kg: {hard: 1}\n", 2, "did you mean `gpu_hours`?"),
        ("name: a\nperiod: {start: 2026-02-01, end: 2026-01-01}\nco2_kg: {hard: 1}\n", 2, "is before `start`"),
        ("name: a\nperiod: {start: soon}\nco2_kg: {hard: 1}\n", 2, 'expected a day such as 2026-11-22, found "soon"'),
        ("name: a\nperiod: {start: 2026}\nco2_kg: {hard: 1}\n", 2, "expected a day such as 2026-11-22, found 2026"),
        ("name: a\nperiod: {start: 2026-01-01T10:00}\nco2_kg: {hard: 1}\n", 2, "expected a day such as 2026-11-22"),
        ('name: a\nscope: {account: ""}\nco2_kg: {hard: 1}\n', 2, "scope.account: is empty: write a value, or leave"),
        ("name: a\nperiod: {end: 9999-12-31}\nco2_kg: {hard: 1}\n", 2, "1970 to 2099, or no `end` for no bound"),
        ("name: a\nscope: {acount: x}\nco2_kg: {hard: 1}\n", 2, "did you mean `account`?"),
    ],
)
def test_a_bad_budget_is_one_message(text: str, line: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_budget(tmp_path / "bad.yaml")
    assert len(caught.value.problems) == 1, str(caught.value)
    assert caught.value.problems[0].position.line == line
    assert message in str(caught.value)


def test_all_problems_of_a_folder_are_reported_and_names_must_differ(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: same\nco2_kg: {hard: 1}\n")
    (tmp_path / "b.yaml").write_text("name: same\nco2_kg: {hard: 2}\n")
    (tmp_path / "c.yaml").write_text("name: c\n")
    with pytest.raises(RecipeError) as caught:
        load_budgets(tmp_path)
    assert [problem.position.file.rpartition("/")[2] for problem in caught.value.problems] == ["b.yaml", "c.yaml"]


def test_a_budget_is_read_under_either_suffix_of_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: a\nco2_kg: {hard: 1}\n")
    (tmp_path / "b.yml").write_text("name: b\nco2_kg: {hard: 2}\n")
    assert [budget.name for budget in load_budgets(tmp_path)] == ["a", "b"]


def test_without_a_folder_there_is_no_budget(tmp_path: Path) -> None:
    assert load_budgets(tmp_path / "nowhere") == []


def test_a_budget_survives_the_round_trip() -> None:
    budget = Budget(name="a", scope=Scope(sweep="paper"), period=Period(every="month"), energy_kwh=Cap(soft=1, hard=2))
    assert Budget.model_validate_json(budget.model_dump_json()) == budget


def test_a_pipe_among_the_budgets_is_refused_instead_of_awaited(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match=r"pipe\.yaml: is a pipe: give a file$"):
        load_budgets(tmp_path)


def test_a_broken_link_among_the_budgets_does_not_suggest_itself(tmp_path: Path) -> None:
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match=r"gone\.yaml: no such file$"):
        load_budgets(tmp_path)
