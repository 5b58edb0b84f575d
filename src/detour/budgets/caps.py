"""Budget files: caps on hours, energy and CO2 for a project, an account, a cluster or a sweep, over a period.

    name: abc-2026
    scope: {account: abc@h100}
    period: {start: 2026-01-01, end: 2026-12-31}
    gpu_hours: {soft: 9000, hard: 10000}
    co2_kg: {hard: 300}

Only the caps are defined here; `arithmetic` compares them with what is requested, reserved and spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from detour.config.fields import Filled, Name, NotNegative, TimeZone, Written
from detour.config.problems import Inconsistent, Position, Problem, RecipeError, shown
from detour.config.validation import read_model

Measure = Literal["gpu_hours", "billed_hours", "energy_kwh", "co2_kg"]
FIRST_YEAR, LAST_YEAR = 1970, 2099
MEASURES: tuple[Measure, ...] = ("gpu_hours", "billed_hours", "energy_kwh", "co2_kg")


class Cap(Written):
    """A plan above `soft` causes a warning, and one above `hard` is refused; None means no limit."""

    soft: NotNegative | None = None
    hard: NotNegative | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Cap:
        if self.soft is None and self.hard is None:
            raise ValueError("give `soft` or `hard` or both")
        if self.soft is not None and self.hard is not None and self.soft > self.hard:
            raise Inconsistent([(("soft",), f"{self.soft:g} is above `hard`, {self.hard:g}: it would never warn")])
        return self


class Scope(Written):
    """What counts against the budget. All given patterns (with `*` and `?`) must match; an empty scope matches all."""

    project: Filled | None = None
    account: Filled | None = None
    cluster: Filled | None = None
    sweep: Filled | None = None
    chain: Filled | None = None
    user: Filled | None = None

    def matches(self, facts: Mapping[str, str | None]) -> bool:
        """Whether the facts of a submission, by the names above, match; an unknown fact matches no pattern."""
        for name in type(self).model_fields:
            pattern, value = getattr(self, name), facts.get(name)
            if pattern is not None and (value is None or not fnmatchcase(value, pattern)):
                return False
        return True


class Period(Written):
    """From `start` to `end`, inclusive; or renewed every month, quarter or year between them."""

    start: date | None = None
    end: date | None = None
    every: Literal["month", "quarter", "year"] | None = None
    time_zone: TimeZone = "UTC"
    """Time zone in which its days begin."""

    @model_validator(mode="after")
    def _ordered(self) -> Period:
        for name, day in (("start", self.start), ("end", self.end)):
            if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
                expected = f"expected a day from {FIRST_YEAR} to {LAST_YEAR}, or no `{name}` for no bound"
                raise Inconsistent([((name,), f"{day}: {expected}")])
        if self.start is not None and self.end is not None and self.end < self.start:
            raise Inconsistent([(("end",), f"{self.end} is before `start`, {self.start}")])
        return self

    def window(self, day: date) -> tuple[date | None, date | None] | None:
        """Return the first and last day of the period that contains `day`, each None if unbounded; None if outside."""
        if (self.start is not None and day < self.start) or (self.end is not None and day > self.end):
            return None
        if self.every is None:
            return self.start, self.end
        months = {"month": 1, "quarter": 3, "year": 12}[self.every]
        first = date(day.year, (day.month - 1) // months * months + 1, 1)
        after = first.month + months
        last = date(first.year + (after - 1) // 12, (after - 1) % 12 + 1, 1) - timedelta(days=1)
        return max(first, self.start or first), min(last, self.end or last)


class Budget(Written):
    name: Name
    description: str = ""
    scope: Scope = Scope()
    period: Period = Period()
    gpu_hours: Cap | None = None
    """GPUs x elapsed time, as allocated."""
    billed_hours: Cap | None = None
    """Hours billed by the site's own rule."""
    energy_kwh: Cap | None = None
    """Facility energy, including PUE."""
    co2_kg: Cap | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Budget:
        if not self.caps():
            raise ValueError(f"has no cap: give one of {', '.join(MEASURES)}")
        return self

    def caps(self) -> dict[Measure, Cap]:
        """Return the measures that have a cap."""
        found: dict[Measure, Cap | None] = {measure: getattr(self, measure) for measure in MEASURES}
        return {measure: cap for measure, cap in found.items() if cap is not None}


def load_budget(path: Path) -> Budget:
    """Load a budget file. Raises RecipeError (exit code 2)."""
    return read_model(Budget, path)


def load_budgets(folder: Path | None = None) -> list[Budget]:
    """Load all budgets of a folder, by default `./configs/budgets`; without a folder there are none.

    Raises RecipeError with the problems of all files at once, including two budgets of the same name.
    """
    folder = folder or Path.cwd() / "configs" / "budgets"
    budgets: dict[str, Budget] = {}
    problems: list[Problem] = []
    for path in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        try:
            budget = load_budget(path)
        except RecipeError as error:
            problems += error.problems
            continue
        if budget.name in budgets:
            problems.append(Problem(Position(shown(path)), "name", f"another budget is called {budget.name} too"))
        budgets[budget.name] = budget
    if problems:
        raise RecipeError(problems)
    return list(budgets.values())
