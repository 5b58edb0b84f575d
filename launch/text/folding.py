"""Evaluations folded by task: the seeds of a task share one line of a table, which shows the worst of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from detour.grouping import grouped
from detour.monitoring.status import StageRow
from detour.sums import known_sum


class Folded(NamedTuple):
    """One stage, or all seeds of one evaluation."""

    rows: tuple[StageRow, ...]

    @property
    def worst(self) -> StageRow:
        return min(self.rows, key=lambda row: row.gravity)

    @property
    def name(self) -> str:
        return self.rows[0].name

    @property
    def seed(self) -> int | None:
        return self.rows[0].seed if len(self.rows) == 1 else None

    @property
    def done(self) -> int:
        return sum(row.status == "done" for row in self.rows)

    @property
    def elapsed_s(self) -> float | None:
        return known_sum(row.elapsed_s for row in self.rows)

    @property
    def facility_energy_kwh(self) -> float | None:
        return known_sum(row.facility_energy_kwh for row in self.rows)

    @property
    def co2_g(self) -> float | None:
        return known_sum(row.co2_g for row in self.rows)

    def named(self, text: str) -> str:
        """What is said about the worst seed, with its number if there are several."""
        return f"seed {self.worst.seed}: {text}" if text and len(self.rows) > 1 else text


def folded(rows: Iterable[StageRow]) -> list[Folded]:
    """In the order of the first row of each."""
    groups = grouped((row.name if row.kind == "evaluate" else row.id, row) for row in rows)
    return [Folded(tuple(group)) for group in groups.values()]
