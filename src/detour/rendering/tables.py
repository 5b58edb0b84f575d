"""A table of a report, described once: the page, Markdown, CSV and JSON all show this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from detour.rendering import words

Form = Callable[[Any], str]
Shape = Literal["value", "band", "sum"]
PARTS: dict[Shape, tuple[tuple[str, str], ...]] = {
    "value": (("", ""),),
    "band": (("_low", "low"), ("", "expected"), ("_high", "high")),
    "sum": (("", "value"), ("_unknown", "unknown")),
}
"""(suffix of the name, attribute) of the columns that a value takes in data: a band has three, a `Known` two."""


class Column(NamedTuple):
    """A figure of each row. In data its name carries the unit; on a page the label and the form do."""

    name: str
    label: str
    form: Form = words.text
    path: str = ""
    """Of the attribute, where it is not the name."""
    shape: Shape = "value"
    small: Form | None = None
    """A second, smaller line on a page."""
    is_main: bool = True
    """On pages too; the others are in data alone."""
    get: Callable[[Any], Any] | None = None
    """Where an attribute's path does not lead to it."""

    @property
    def is_number(self) -> bool:
        return self.form is not words.text

    def of(self, row: object) -> Any:
        return self.get(row) if self.get else attrgetter(self.path or self.name)(row)

    def cell(self, row: object) -> Cell:
        value = self.of(row)
        return Cell(self, self.form(value), self.small(value) if self.small else "")


class Cell(NamedTuple):
    """As a page has it."""

    column: Column
    text: str
    small: str


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    """Of its file, and in JSON."""
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[object]
    note: str = ""
    shown: int | None = None
    """Rows on a page, where all would be too many."""

    @property
    def main(self) -> list[Column]:
        """What a page shows; a column in which nothing is known of any row says nothing."""
        main = [column for column in self.columns if column.is_main]
        return [column for column in main if not self.rows or any(column.of(row) is not None for row in self.rows)]

    @property
    def main_rows(self) -> Sequence[object]:
        return self.rows if self.shown is None else self.rows[: self.shown]

    @property
    def left_out(self) -> int:
        return len(self.rows) - len(self.main_rows)

    def cells(self) -> Iterator[list[Cell]]:
        """What a page shows, row by row."""
        main = self.main
        for row in self.main_rows:
            yield [column.cell(row) for column in main]

    def header(self) -> list[str]:
        """Names of the columns of data."""
        return [column.name + suffix for column in self.columns for suffix, _ in PARTS[column.shape]]

    def data(self) -> Iterator[list[Any]]:
        """Every row, as plain values in the order of `header`."""
        for row in self.rows:
            yield [value for column in self.columns for value in _parts(column, row)]


def _parts(column: Column, row: object) -> list[Any]:
    value = column.of(row)
    if column.shape == "value":
        return [value]
    return [None if value is None else getattr(value, part) for _, part in PARTS[column.shape]]


def number(name: str, label: str, form: Form, path: str = "", *, main: bool = True) -> Column:
    return Column(name, label, form, path, is_main=main)


def hours(name: str, label: str, path: str = "", *, main: bool = True) -> Column:
    """Of a `Known`: it says of how many attempts nothing is known."""
    return Column(name, label, words.hours, path, "sum", is_main=main)


def energy(name: str, label: str, path: str = "") -> Column:
    return Column(name, label, words.energy_of, path, "band", words.energy_spread)


def co2(name: str, label: str, path: str = "") -> Column:
    return Column(name, label, words.co2_of, path, "band", words.co2_spread)
