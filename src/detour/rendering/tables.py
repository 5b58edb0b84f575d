"""The definition of a report's table, which page, Markdown, CSV and JSON share."""

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
"""(name suffix, attribute) of a value's columns in data: a band has three, a `Known` two."""


class Column(NamedTuple):
    """A column. In data its name includes the unit; on a page the label and the form do."""

    name: str
    label: str
    form: Form = words.text
    path: str = ""
    """Path of the attribute, if it is not the name."""
    shape: Shape = "value"
    small: Form | None = None
    """Form of a second, smaller line on a page."""
    is_main: bool = True
    """Whether it is shown on pages; others are only in data."""
    get: Callable[[Any], Any] | None = None
    """Getter, if an attribute's path does not suffice."""

    @property
    def is_number(self) -> bool:
        return self.form is not words.text

    def of(self, row: object) -> Any:
        return self.get(row) if self.get else attrgetter(self.path or self.name)(row)

    def cell(self, row: object) -> Cell:
        value = self.of(row)
        return Cell(self, self.form(value), self.small(value) if self.small else "")


class Cell(NamedTuple):
    """A value as shown on a page."""

    column: Column
    text: str
    small: str


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    """Name of its file, and in JSON."""
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[object]
    note: str = ""
    shown: int | None = None
    """Maximum number of rows on a page, None for all."""

    @property
    def main(self) -> list[Column]:
        """Columns to show on a page, without those in which all values are unknown."""
        main = [column for column in self.columns if column.is_main]
        return [column for column in main if not self.rows or any(column.of(row) is not None for row in self.rows)]

    @property
    def main_rows(self) -> Sequence[object]:
        return self.rows if self.shown is None else self.rows[: self.shown]

    @property
    def left_out(self) -> int:
        return len(self.rows) - len(self.main_rows)

    def cells(self) -> Iterator[list[Cell]]:
        """Yield the rows of cells to show on a page."""
        main = self.main
        for row in self.main_rows:
            yield [column.cell(row) for column in main]

    def header(self) -> list[str]:
        """Return the names of the data columns."""
        return [column.name + suffix for column in self.columns for suffix, _ in PARTS[column.shape]]

    def data(self) -> Iterator[list[Any]]:
        """Yield every row as plain values, in the order of `header`."""
        for row in self.rows:
            yield [value for column in self.columns for value in _parts(column, row)]


def _parts(column: Column, row: object) -> list[Any]:
    value = column.of(row)
    if column.shape == "value":
        return [value]
    return [None if value is None else getattr(value, part) for _, part in PARTS[column.shape]]


def or_dash(form: Form) -> Form:
    """Return a form without a word for what is not known yet."""
    return lambda value: "–" if value is None else form(value)


def number(name: str, label: str, form: Form, path: str = "", *, main: bool = True) -> Column:
    return Column(name, label, form, path, is_main=main)


def hours(name: str, label: str, path: str = "", *, main: bool = True) -> Column:
    """Return a column of a `Known`, which states the number of unknown attempts."""
    return Column(name, label, words.hours, path, "sum", is_main=main)


def energy(name: str, label: str, path: str = "") -> Column:
    return Column(name, label, words.energy_of, path, "band", words.energy_spread)


def co2(name: str, label: str, path: str = "") -> Column:
    return Column(name, label, words.co2_of, path, "band", words.co2_spread)
