"""Dumps of Slurm's accounting as rows, read in one pass and never held: `sacct -P`, `sacct -p`, and tables.

    dump = read_rows(Path("jobs.txt"), Dialect(time_zone=ZoneInfo("Europe/Paris")))
    for row in dump:
        ...
    dump.notes.unknown_states

Columns may come in any order and under any of the names in `columns`; which there must be is in `columns.NEEDED`. Rows
of steps are left out: a job's row already is about all of them.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from itertools import chain
from pathlib import Path

from detour.errors import UserError
from detour.sacct.building import BadCell, RowBuilder
from detour.sacct.columns import FIELDS, LAYOUTS, NEEDED, find_columns, free_columns, is_header
from detour.sacct.opening import STANDARD_INPUT, opened
from detour.sacct.records import Broken, delimiter_of, records_of, repaired, table_records
from detour.sacct.rows import JobRow
from detour.sacct.values import STATES, time_parser
from detour.text import cut, plain

NAMED = 5
"""Broken rows that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a dump does not say of itself."""

    time_zone: tzinfo = UTC
    """Of times without an offset: sacct prints them in the zone of the machine, or person, that calls it."""
    time_format: str | None = None
    """As of `strptime`, for times that are neither ISO nor seconds since the epoch."""
    columns: Sequence[str] | None = None
    """Names of the columns, of a dump without a header."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Our field (see `columns.FIELDS`) -> the column that holds it, where its name does not tell."""
    skip_broken: bool = False
    """Count and name rows that cannot be read, instead of refusing the dump at the first."""


@dataclass(slots=True)
class Notes:
    """What to know of a dump that was read. Grows while it is read."""

    rows: int = 0
    steps: int = 0
    repaired: int = 0
    """Rows with line ends or delimiters in a name."""
    unknown_states: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """The first few, each with file and line."""
    n_broken: int = 0
    layout: str | None = None
    """By which a dump without a header was read."""


@dataclass(slots=True)
class Dump:
    """Iterate once. Raises UserError, with file and line, for what cannot be read."""

    source: Path | Iterable[str]
    dialect: Dialect = Dialect()
    name: str = ""
    notes: Notes = field(default_factory=Notes)

    def __iter__(self) -> Iterator[JobRow]:
        with ExitStack() as stack:
            if isinstance(self.source, Path):
                shown = "standard input" if str(self.source) == STANDARD_INPUT else str(self.source)
                self.name = self.name or plain(shown)
                lines = stack.enter_context(opened(self.source))
            else:
                self.name = self.name or "sacct"
                lines = iter(self.source)
            yield from self._rows(lines)

    def _rows(self, lines: Iterator[str]) -> Iterator[JobRow]:
        first = next(lines, None)
        while first is not None and not first.strip():
            first = next(lines, None)
        if first is None:
            raise UserError(f"{self.name}: is empty: expected a header with {NEEDED}, as `sacct --parsable2` prints")
        table = _Table.of(first, self.dialect, self.name)
        self.notes.layout = table.layout
        parse_time = time_parser(self.dialect.time_zone, self.dialect.time_format)
        build = RowBuilder(table.at, len(table.header), parse_time, opaque_ids=table.quoted)
        rest = lines if table.has_header else chain([first], lines)
        header_lines = 1 if table.has_header else 0
        for line, cells in self._records(rest, header_lines, table, build):
            try:
                row = build(cells)
            except BadCell as bad:
                column = table.header[table.at[bad.field]]
                self._broken(line, f"{plain(column)}: {cut(plain(repr(bad.text)), 60)}; expected {bad.expected}")
                continue
            if row is None:
                self.notes.steps += 1
                continue
            self.notes.rows += 1
            if row.state is not None and row.state not in STATES:
                self.notes.unknown_states[row.state] += 1
            yield row

    def _records(
        self, lines: Iterator[str], before: int, table: _Table, build: RowBuilder
    ) -> Iterator[tuple[int, Sequence[str]]]:
        """The number of its first line, and the cells, of each record."""
        try:
            if table.quoted:
                for line, cells in table_records(lines, table.delimiter, len(table.header)):
                    yield line + before - 1, [cell.strip() for cell in cells]
                return
            width, delimiter, trailing = len(table.header), table.delimiter, table.trailing
            found = records_of(lines, before + 1, delimiter, width, trailing=trailing, by_id=table.by_id)
            for line, text, cells in found:
                if table.has_header and text == table.text:
                    continue
                row = cells[:-1] if trailing and not cells[-1] else cells
                if len(row) == width and "\n" not in text:
                    yield line, row
                elif (mended := self._repaired(line, row, table, build)) is not None:
                    yield line, mended
        except Broken as error:
            raise UserError(f"{self.name}:{error.line}: expected {error.problem}") from None

    def _repaired(self, line: int, cells: Sequence[str], table: _Table, build: RowBuilder) -> Sequence[str] | None:
        try:
            mended = repaired(cells, table.delimiter, len(table.header), table.free, build.sound, build.figures)
        except ValueError as error:
            self._broken(line, f"expected {error}")
            return None
        self.notes.repaired += 1
        return mended

    def _broken(self, line: int, problem: str) -> None:
        said = f"{self.name}:{line}: {problem}"
        if not self.dialect.skip_broken:
            raise UserError(f"{said}. Correct the dump, or skip such rows with --skip-broken")
        self.notes.n_broken += 1
        if len(self.notes.broken) < NAMED:
            self.notes.broken.append(said)


def read_rows(source: Path | Iterable[str], dialect: Dialect | None = None, *, name: str = "") -> Dump:
    """The rows of a dump: a file (compressed by gzip, bzip2 or xz or not; `-` is standard input), or its lines.

    `name`: what messages call it. Nothing is read before the first row is asked for.
    """
    return Dump(source, dialect or Dialect(), name)


@dataclass(frozen=True, slots=True)
class _Table:
    """What the header, or a layout in its place, says of a dump."""

    text: str
    header: Sequence[str]
    delimiter: str
    trailing: bool
    has_header: bool
    at: Mapping[str, int]
    layout: str | None

    @classmethod
    def of(cls, first: str, dialect: Dialect, name: str) -> _Table:
        """Raises UserError where the first line is no header and no known layout fits it."""
        text = first.rstrip("\r\n")
        delimiter = delimiter_of(text)
        if delimiter is None:
            raise UserError(f"{name}:1: {_no_header(text)}")
        trailing = delimiter == "|" and text.endswith(delimiter)
        cells = _split(text[:-1] if trailing else text, delimiter)
        has_header = is_header(cells)
        layout = None
        header: Sequence[str] = cells
        if not has_header:
            layout, header = _layout(cells, delimiter, dialect.columns, name)
        try:
            at = find_columns(header, dialect.chosen)
        except KeyError as error:
            raise UserError(f"{name}:1: no column {error.args[0]!r}: it has {plain(', '.join(header))}") from None
        _check(at, header, name)
        return cls(text, header, delimiter, trailing, has_header, at, layout)

    @property
    def quoted(self) -> bool:
        """Tables quote their values; sacct does not."""
        return self.delimiter in ",;\t"

    @property
    def free(self) -> list[int]:
        return free_columns(self.header)

    @property
    def by_id(self) -> bool:
        return 0 in (self.at.get("job"), self.at.get("raw_id"))


def _split(text: str, delimiter: str) -> list[str]:
    """A header's names, quoted or not."""
    try:
        cells = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error:  # a carriage return, or more than 128 KiB, in a name
        cells = text.split(delimiter)
    return [cell.strip() for cell in cells]


def _layout(row: Sequence[str], delimiter: str, given: Sequence[str] | None, name: str) -> tuple[str, Sequence[str]]:
    """Names for the columns of a dump without a header, whose first row this is: those given, or a known layout's."""
    if given is not None:
        return "given", given
    for layout, names in LAYOUTS.items():
        build = RowBuilder(find_columns(names, {}), len(names), time_parser(UTC))
        try:
            cells = repaired(row, delimiter, len(names), free_columns(names), build.sound, build.figures)
        except ValueError:
            continue
        if build.sound(cells):
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
