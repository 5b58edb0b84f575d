"""Interpret the first line of a dump: a header, or a row of a known layout without one."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

from detour.errors import UserError
from detour.sacct.building import RowBuilder
from detour.sacct.columns import FIELDS, LAYOUTS, NEEDED, find_columns, free_columns, is_header
from detour.sacct.records import delimiter_of, repaired
from detour.sacct.times import time_parser
from detour.text import cut, plain

QUOTING = (",", ";", "\t")
"""Delimiters of tables, which may quote values."""


@dataclass(frozen=True, slots=True)
class Table:
    """The structure of a dump, from its header or a known layout."""

    text: str
    header: Sequence[str]
    delimiter: str
    trailing: bool
    has_header: bool
    at: Mapping[str, int]
    layout: str | None

    @classmethod
    def of(cls, first: str, name: str, columns: Sequence[str] | None, chosen: Mapping[str, str]) -> Table:
        """Interpret the first line of the dump `name`; `columns` and `chosen` are as in `reading.Dialect`.

        Raises UserError if the line is not a header and no known layout fits it.
        """
        text = first.rstrip("\r\n")
        delimiter = delimiter_of(text)
        if delimiter is None:
            raise UserError(f"{name}:1: {_no_header(text)}")
        trailing = delimiter not in QUOTING and text.endswith(delimiter)
        cells = _split(text.removesuffix(delimiter) if trailing else text, delimiter)
        has_header = is_header(cells)
        layout = None
        header: Sequence[str] = cells
        if not has_header:
            layout, header = _layout(cells, delimiter, columns, name)
        try:
            at = find_columns(header, chosen)
        except KeyError as error:
            raise UserError(f"{name}:1: no column {error.args[0]!r}: it has {plain(', '.join(header))}") from None
        _check(at, header, name)
        return cls(text, header, delimiter, trailing, has_header, at, layout)

    @property
    def quoted(self) -> bool:
        """Whether values may be quoted, as in tables; sacct does not quote."""
        return self.delimiter in QUOTING

    @property
    def free(self) -> list[int]:
        return free_columns(self.header)

    def without_tail(self, cells: Sequence[str]) -> Sequence[str]:
        """Remove the empty cell after the last delimiter, which `sacct --parsable` prints."""
        return cells[:-1] if self.trailing and not cells[-1] else cells


def _split(text: str, delimiter: str) -> list[str]:
    """Split a header into names, quoted or not."""
    if delimiter not in QUOTING:
        return [cell.strip() for cell in text.split(delimiter)]
    try:
        cells = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:  # a carriage return, or more than 128 KiB, in a name
        cells = text.split(delimiter)
    return [cell.strip() for cell in cells]


def _layout(row: Sequence[str], delimiter: str, given: Sequence[str] | None, name: str) -> tuple[str, Sequence[str]]:
    """Return the layout and column names of a dump without a header, given or from a known layout that fits `row`."""
    if given is not None:
        return "given", given
    for layout, names in LAYOUTS.items():
        build = RowBuilder(names, find_columns(names, {}), time_parser(UTC))
        try:
            cells = repaired(row, delimiter, len(names), free_columns(names), build)
        except ValueError:
            continue
        if all(build.fits(index, cell) for index, cell in enumerate(cells)) and build.sound(cells):
            return layout, names
    raise UserError(f"{name}:1: {_no_header(delimiter.join(row))}")


def _check(at: Mapping[str, int], header: Sequence[str], name: str) -> None:
    if "start" in at and at.keys() & {"end", "elapsed", "elapsed_raw"} and at.keys() & {"job", "raw_id"}:
        return
    lacking = [
        what
        for what, there in (
            ("JobID", at.keys() & {"job", "raw_id"}),
            ("Start", "start" in at),
            ("End or Elapsed", at.keys() & {"end", "elapsed", "elapsed_raw"}),
        )
        if not there
    ]
    found = cut(plain(", ".join(header)), 200)
    raise UserError(
        f"{name}:1: no column {', '.join(lacking)}: it has {found}. Name one with --column FIELD=COLUMN, where FIELD "
        f"is one of {', '.join(FIELDS)}"
    )


def _no_header(text: str) -> str:
    if "JobID" in text and "  " in text:
        return "this is sacct's aligned output, which cuts values short: make it with `sacct --parsable2`"
    return (
        f"expected a header with {NEEDED}, as `sacct --parsable2` prints, and found {cut(plain(text), 60)!r}; name the "
        "columns of a dump without a header with --columns JobID,Start,..."
    )
