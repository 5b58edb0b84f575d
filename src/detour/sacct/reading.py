"""Read dumps of Slurm's accounting in one streaming pass: `sacct -P`, `sacct -p`, and tables.

    dump = read_rows(Path("jobs.txt"), Dialect(time_zone=ZoneInfo("Europe/Paris")))
    for row in dump:
        ...
    dump.notes.unknown_states

Columns may be in any order, under any of the names in `columns`; `columns.NEEDED` lists the required ones. Rows of
steps are left out, because a job's row covers all its steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from itertools import chain
from pathlib import Path

from detour.errors import UserError
from detour.sacct.allocation import lists_requests_alone
from detour.sacct.building import BadCell, RowBuilder
from detour.sacct.columns import NEEDED
from detour.sacct.heading import Table
from detour.sacct.json_dump import HEADER, json_records
from detour.sacct.opening import JSON_BEGINS, STANDARD_INPUT, opened
from detour.sacct.record_ends import Continuing
from detour.sacct.records import Broken, Records, records_of, repaired, table_records
from detour.sacct.rows import JobRow
from detour.sacct.times import time_parser
from detour.sacct.values import STATES
from detour.text import cut, plain

JOBS_AT_ONCE = 1024
NAMED = 5
"""Maximum number of broken rows to describe; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a dump does not state about itself."""

    time_zone: tzinfo = UTC
    """Zone of times without an offset: sacct prints them in that of the machine or user that runs it."""
    time_format: str | None = None
    """Format for `strptime`, for times that are neither ISO nor seconds since the epoch."""
    columns: Sequence[str] | None = None
    """Column names of a dump without a header."""
    chosen: Mapping[str, str] = field(default_factory=dict)
    """Our field (see `columns.FIELDS`) -> the column that holds it, if its name is not known."""
    skip_broken: bool = False
    """Count and describe rows that cannot be read, instead of refusing the dump at the first."""


@dataclass(slots=True)
class Notes:
    """Notes on a dump, collected while it is read."""

    rows: int = 0
    steps: int = 0
    repaired: int = 0
    """Number of rows with line ends or delimiters in a name."""
    unknown_states: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    """Descriptions of the first few broken rows, with file and line."""
    n_broken: int = 0
    layout: str | None = None
    """Layout with which a dump without a header was read."""
    unexplained: int = 0
    """Jobs whose time on nodes differs from end minus start: suspended, or in a unit other than seconds."""
    gpus_are_requested: bool = False
    """Whether it has the number of requested GPUs but not that of allocated ones, so the former is counted."""


@dataclass(slots=True)
class Dump:
    """The rows of a dump, to be iterated once. Raises UserError, with file and line, for anything unreadable."""

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
        is_json = first.startswith(JSON_BEGINS)
        if is_json:
            table = Table.of("|".join(HEADER), self.name, None, {})
        else:
            table = Table.of(first, self.name, self.dialect.columns, self.dialect.chosen)
        self.notes.layout = table.layout
        self.notes.gpus_are_requested = lists_requests_alone(table.at)
        zone, form = self.dialect.time_zone, None if is_json else self.dialect.time_format
        parse_time, parse_later = time_parser(zone, form), time_parser(zone, form, later=True)
        build = RowBuilder(table.header, table.at, parse_time, parse_later, opaque_ids=table.quoted)
        if is_json:
            blocks = self._json(chain([first], lines))
        else:
            rest = lines if table.has_header else chain([first], lines)
            blocks = self._records(rest, 1 if table.has_header else 0, table, build)
        for records in blocks:
            rows = self._built(records, table, build)
            self.notes.rows += len(rows)
            self.notes.unexplained = build.unexplained
            self.notes.unknown_states.update(row.state for row in rows if row.state and row.state not in STATES)
            yield from rows

    def _json(self, lines: Iterable[str]) -> Iterator[Records]:
        """Yield the jobs of `sacct --json`, which is read at once; a job's number takes the place of its line."""
        try:
            cells = json_records("".join(lines))
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from None
        for begin in range(0, len(cells), JOBS_AT_ONCE):
            some = cells[begin : begin + JOBS_AT_ONCE]
            yield Records(range(begin + 1, begin + 1 + len(some)), some)

    def _built(self, records: Records, table: Table, build: RowBuilder) -> list[JobRow]:
        try:
            rows = build.rows(records.cells)
            self.notes.steps += len(records.cells) - len(rows)
            return rows
        except ValueError:
            return [row for record in records.singly() for row in self._built_alone(*record, table, build)]

    def _built_alone(self, line: int, cells: Sequence[str], table: Table, build: RowBuilder) -> Sequence[JobRow]:
        """Build a single record of a block that contains a broken one; empty for a broken record or a step."""
        try:
            row = build(cells)
        except BadCell as bad:
            column = table.header[table.at[bad.field]]
            self._broken(line, f"{plain(column)}: {cut(plain(repr(bad.text)), 60)}; expected {bad.expected}")
            return ()
        self.notes.steps += row is None
        return () if row is None else (row,)

    def _records(self, lines: Iterator[str], before: int, table: Table, build: RowBuilder) -> Iterator[Records]:
        """Yield records with as many cells as the header has."""
        width, delimiter = len(table.header), table.delimiter
        try:
            if table.quoted:
                for records in table_records(lines, before + 1, delimiter, width):
                    yield records.without(table.header) if table.has_header else records
                return
            continuing = Continuing.of(table, build)
            for records in records_of(
                lines, before + 1, delimiter, width, trailing=table.trailing, goes_on=continuing.goes_on
            ):
                yield self._mended(records, continuing)
        except Broken as error:
            raise UserError(f"{self.name}:{error.line}: expected {error.problem}") from None

    def _mended(self, records: Records, continuing: Continuing) -> Records:
        """Return records with as many cells as the header has, rejoining names that were split."""
        table = continuing.table
        if table.has_header:
            records = records.without(table.text.split(table.delimiter))
        if records.plain:
            if not table.trailing:
                return records
            if not any(cells[-1] for cells in records.cells):
                return replace(records, cells=[cells[:-1] for cells in records.cells])
        whole = [
            (line, row) for line, cells in records.singly() if (row := self._whole(line, cells, continuing)) is not None
        ]
        return Records([line for line, _ in whole], [row for _, row in whole])

    def _whole(self, line: int, cells: Sequence[str], continuing: Continuing) -> Sequence[str] | None:
        """Return a record with names that were split rejoined, None if it is broken."""
        table, width = continuing.table, len(continuing.table.header)
        row, on_lines = table.without_tail(cells), any("\n" in cell for cell in cells)
        if len(row) == width and not on_lines:
            return row
        if on_lines and continuing.may_be_two(cells):
            self._broken(line, f"a row of {width} columns, and found lines that may be one row or two")
            return None
        try:
            mended = repaired(row, table.delimiter, width, table.free, continuing.build)
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
    """Return the rows of a dump: a file (plain, gzip, bzip2 or xz; `-` is standard input), or its lines.

    Messages call it `name`. Nothing is read before iteration.
    """
    return Dump(source, dialect or Dialect(), name)
