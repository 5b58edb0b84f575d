"""Assemble lines into records with as many cells as the header has, despite line ends and delimiters in names.

sacct escapes nothing. Cells of free text (`columns.FREE_TEXT`) are rejoined if exactly one way of doing so gives every
other column a valid value; otherwise the record is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

_USUAL = "\x1f|\t;,"
BLOCK = 1024
"""Number of lines or records to read at once."""
_FEW, _LONG = 8, 1 << 15
"""A number of lines, and the total length above which that many lines count as long."""
_BETWEEN_NAMES = re.compile(r"\W+")
_MOST_LINES = 200
"""Maximum number of lines in one record."""
_MOST_WAYS = 1_000
"""Maximum number of ways to rejoin one record; among more, none would be certain."""
_MOST_EXTRA = 200
"""Maximum number of delimiters in the names of one record."""
_MOST_COLUMNS = 400
"""Maximum number of columns of a dump whose records are rejoined; sacct has 120."""


class Broken(ValueError):
    """A record that cannot be read, with its line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


def delimiter_of(first: str) -> str | None:
    """Return the delimiter of a header: the text between all names, since `sacct --delimiter` accepts anything.

    If that varies, it is the first usual delimiter (of sacct, then of tables) in the line. None for a single column and
    for columns aligned with spaces.
    """
    between: set[str] = set(_BETWEEN_NAMES.findall(first))
    if len(between) == 1 and (one := between.pop()).strip(" "):
        return one
    return next((usual for usual in _USUAL if usual in first), None)


@dataclass(frozen=True, slots=True)
class Records:
    """Some records of a dump, in order."""

    lines: Sequence[int]
    """Number of the first line of each record."""
    cells: Sequence[Sequence[str]]
    plain: bool = False
    """Whether each is known to be on one line and to have the right number of cells."""

    def singly(self) -> Iterator[tuple[int, Sequence[str]]]:
        return zip(self.lines, self.cells, strict=True)

    def without(self, heading: Sequence[str]) -> Records:
        """Remove headers among the records, as in concatenated dumps."""
        if heading not in self.cells:
            return self
        kept = [(line, cells) for line, cells in self.singly() if cells != heading]
        return Records([line for line, _ in kept], [cells for _, cells in kept], self.plain)


def records_of(
    lines: Iterable[str],
    first: int,
    delimiter: str,
    width: int,
    *,
    trailing: bool,
    goes_on: Callable[[Sequence[str], Sequence[str]], bool],
) -> Iterator[Records]:
    """Yield records, which should have `width` cells each.

    first     number of the first line
    trailing  whether each record ends with the delimiter, as in `sacct --parsable`, which adds an empty cell
    goes_on   whether a complete record continues in a line with too few cells (the second argument), which is then
              the rest of a name
    """
    more, enough = iter(lines), width + trailing
    left: list[str] = []
    while block := left + (new := _next_of(more)):
        cells = [line.rstrip("\r\n").split(delimiter) for line in block]
        found = (
            Records(range(first, first + len(cells)), cells, plain=True)
            if set(map(len, cells)) == {enough}
            else _together(cells, first, width, enough, goes_on)
        )
        if not new:
            yield found
            return
        yield Records(found.lines[:-1], found.cells[:-1], found.plain)
        last = found.lines[-1] if found.lines else first + len(block)
        left, first = block[last - first :], last


def _next_of(lines: Iterator[str]) -> list[str]:
    """Return a block of lines, fewer if they are long, to bound memory."""
    block: list[str] = []
    while len(block) < BLOCK and (few := list(islice(lines, _FEW))):
        block += few
        if sum(map(len, few)) > _LONG:
            break
    return block


def _together(
    lines: Iterable[list[str]],
    first: int,
    width: int,
    enough: int,
    goes_on: Callable[[Sequence[str], Sequence[str]], bool],
) -> Records:
    """Combine the cells of lines into records, some of which span several lines. Raises Broken."""
    begun: list[int] = []
    records: list[list[str]] = []
    for number, more in enumerate(lines, first):
        cells = records[-1] if records else []
        is_blank = len(more) == 1 and not more[0].strip()
        if len(cells) >= enough and is_blank:
            continue
        if cells and (len(cells) < enough or (len(more) < enough and goes_on(cells, more))):
            cells[-1:] = [f"{cells[-1]}\n{more[0]}", *more[1:]]
            if number - begun[-1] >= _MOST_LINES:
                raise Broken(begun[-1], f"a row of {width} columns, and found no end of it in {_MOST_LINES} lines")
        elif not is_blank:
            begun.append(number)
            records.append(more)
    return Records(begun, records)


class Kinds(Protocol):
    """Checks of the values in a dump's columns."""

    def fits(self, column: int, cell: str) -> bool:
        """Whether a cell is possible in a column."""

    def sound(self, cells: Sequence[str]) -> bool:
        """Whether cells that fit individually can form a record."""

    def figures(self, cells: Sequence[str]) -> object:
        """Return everything that is read from a record except free text; ways that differ only in it are equivalent."""


def repaired(cells: Sequence[str], delimiter: str, width: int, free: Sequence[int], kinds: Kinds) -> Sequence[str]:
    """Return a record as `width` cells, given the columns of free text. Raises ValueError with what was expected."""
    extra = len(cells) - width
    if extra < 0:
        raise ValueError(f"{width} columns, and found {len(cells)}")
    if extra == 0 and not any("\n" in cell for cell in cells):
        return cells
    ways = fitting(cells, delimiter, width, free, kinds)
    if extra == 0 and not ways:
        raise ValueError(f"{width} columns on one line, and found text that belongs to no column")
    if len(ways) != 1 and len(set(map(kinds.figures, ways))) != 1:
        where = "it fits no column, or more than one" if free else "no column may hold it"
        raise ValueError(f"{width} columns, and found {len(cells)}: {delimiter!r} stands in a value, and {where}")
    return ways[0]


def fitting(cells: Sequence[str], delimiter: str, width: int, free: Sequence[int], kinds: Kinds) -> list[Sequence[str]]:
    """Return all ways to form a record of these cells, none if there are too many; arguments as in `repaired`."""
    if width > _MOST_COLUMNS or not 0 <= len(cells) - width <= _MOST_EXTRA:
        return []
    ways = list(islice(_Ways(cells, delimiter, width, frozenset(free), kinds), _MOST_WAYS + 1))
    return [way for way in ways if kinds.sound(way)] if len(ways) <= _MOST_WAYS else []


class _Ways:
    """Iterates over all ways to assign delimiters and line ends to free text so that each cell fits its column."""

    def __init__(self, cells: Sequence[str], delimiter: str, width: int, free: frozenset[int], kinds: Kinds) -> None:
        self._cells, self._delimiter, self._width, self._free, self._kinds = cells, delimiter, width, free, kinds
        self._dead: set[tuple[int, int]] = set()
        """(column, cell) pairs from which no way reaches the end."""

    def __iter__(self) -> Iterator[list[str]]:
        return self._onward(0, 0, [])

    def _onward(self, column: int, at: int, built: list[str]) -> Iterator[list[str]]:
        if column == self._width:
            yield built
            return
        found = False
        for taken in self._lengths(column, at):
            cell = self._delimiter.join(self._cells[at : at + taken])
            if (column + 1, at + taken) not in self._dead and self._may_stand(column, cell):
                for way in self._onward(column + 1, at + taken, [*built, cell]):
                    found = True
                    yield way
        if not found:
            self._dead.add((column, at))

    def _lengths(self, column: int, at: int) -> range:
        """Return how many cells a column can take; the last column takes all that are left."""
        left = len(self._cells) - at - (self._width - column - 1)
        if column == self._width - 1:
            return range(left, left + 1) if left == 1 or column in self._free else range(0)
        return range(1, left + 1) if column in self._free else range(1, 2)

    def _may_stand(self, column: int, cell: str) -> bool:
        return column in self._free or ("\n" not in cell and self._kinds.fits(column, cell))


def table_records(lines: Iterable[str], first: int, delimiter: str, width: int) -> Iterator[Records]:
    """Yield the records of a table whose cells may be quoted; `first` is the number of the first line. Raises Broken.

    sacct does not quote, so a name may begin with an unclosed quotation mark: lines with `width` cells each are
    separate records, whatever quotation marks they contain.
    """
    records = _table_records(iter(lines), first, delimiter, width)
    while some := list(islice(records, BLOCK)):
        yield Records([line for line, _ in some], [[cell.strip() for cell in cells] for _, cells in some])


def _table_records(lines: Iterator[str], first: int, delimiter: str, width: int) -> Iterator[tuple[int, list[str]]]:
    held: list[str] = []
    reader = csv.reader(_kept(lines, held), delimiter=delimiter)
    while True:
        line = reader.line_num + first
        held.clear()
        problem = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem, cells = f"a row of a table, and found {error}", []
        if (len(held) > 1 or len(cells) != width) and (alone := _alone(held, delimiter, width)):
            yield from enumerate(alone, line)
        elif problem:
            raise Broken(line, problem)
        elif cells and len(cells) != width:
            advice = f"quote values that hold {delimiter!r}, or make the dump with `sacct --parsable2`"
            raise Broken(line, f"{width} columns, and found {len(cells)}: {advice}")
        elif cells:
            yield line, cells


def _kept(lines: Iterable[str], held: list[str]) -> Iterator[str]:
    for line in lines:
        held.append(line)
        yield line


def _alone(lines: Sequence[str], delimiter: str, width: int) -> list[list[str]]:
    """Return each line as a record, or nothing if any has the wrong number of cells."""
    records = [line.rstrip("\r\n").split(delimiter) for line in lines]
    return records if all(len(cells) == width for cells in records) else []
