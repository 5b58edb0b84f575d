"""Lines to records of as many cells as the header has, in spite of names with line ends and delimiters in them.

sacct escapes nothing. A cell that may hold anything (`columns.FREE_TEXT`) is put together again when exactly one way
of doing so gives every other column a value of its kind; else the record is refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations_with_replacement, islice

_USUAL = "\x1f|\t;,"
_BETWEEN_NAMES = re.compile(r"\W+")
_MOST_LINES = 200
"""Of one name."""
_MOST_WAYS = 1_000
"""Of one record: more would take seconds for some rows, and not one of them be sure."""
_MOST_EXTRA = 200
"""Delimiters in the names of one record."""


class Broken(ValueError):
    """A record that cannot be read, at a line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem


def delimiter_of(first: str) -> str | None:
    """What stands between all names of a header, as `sacct --delimiter` takes anything; else the first of sacct's, then
    of those of tables, that the line has. None for a single column, and for columns that spaces align.
    """
    between: set[str] = set(_BETWEEN_NAMES.findall(first))
    if len(between) == 1 and (one := between.pop()).strip(" "):
        return one
    return next((usual for usual in _USUAL if usual in first), None)


def records_of(
    lines: Iterable[str],
    first: int,
    delimiter: str,
    width: int,
    *,
    trailing: bool,
    goes_on: Callable[[Sequence[str], Sequence[str]], bool],
) -> Iterator[tuple[int, str, list[str]]]:
    """The number of the first line, the text and the cells of each record, which should be `width`.

    first     the number of the first of `lines`
    trailing  each record ends in the delimiter, as with `sacct --parsable`
    goes_on   whether a record that has all its cells goes on in a line of too few (its cells come second), which is
              then the rest of a name
    """
    enough = width + trailing
    held, held_line, parts = "", first, 0
    cells: list[str] = []
    for number, ended in enumerate(lines, first):
        line = ended.rstrip("\r\n")
        more = line.split(delimiter)
        if len(cells) >= enough and not line.strip():
            continue
        if parts and (len(cells) < enough or (len(more) < enough and goes_on(cells, more))):
            held, parts = f"{held}\n{line}", parts + 1
            cells = held.split(delimiter)
            if parts > _MOST_LINES:
                raise Broken(held_line, f"a row of {width} columns, and found no end of it in {_MOST_LINES} lines")
            continue
        if parts:
            yield held_line, held, cells
        if line.strip():
            held, held_line, parts, cells = line, number, 1, more
    if parts:
        yield held_line, held, cells


def repaired(
    cells: Sequence[str],
    delimiter: str,
    width: int,
    free: Sequence[int],
    sound: Callable[[Sequence[str]], bool],
    figures: Callable[[Sequence[str]], object],
) -> Sequence[str]:
    """The `width` cells of a record. Raises ValueError with what was expected.

    free     indices of free text
    sound    whether the other cells can be right
    figures  what is read of these: ways that differ in texts alone are as good as one
    """
    extra = len(cells) - width
    if extra < 0:
        raise ValueError(f"{width} columns, and found {len(cells)}")
    if extra == 0 and not any("\n" in cell for cell in cells):
        return cells
    ways = fitting(cells, delimiter, width, free, sound)
    if extra == 0 and not ways:
        raise ValueError(f"{width} columns on one line, and found text that belongs to no column")
    if len(set(map(figures, ways))) != 1:
        where = "it fits no column, or more than one" if free else "no column may hold it"
        raise ValueError(f"{width} columns, and found {len(cells)}: {delimiter!r} stands in a value, and {where}")
    return ways[0]


def fitting(
    cells: Sequence[str],
    delimiter: str,
    width: int,
    free: Sequence[int],
    sound: Callable[[Sequence[str]], bool],
) -> list[Sequence[str]]:
    """All ways of making a record of these cells, none where they are too many; arguments as of `repaired`."""
    extra = len(cells) - width
    if not 0 <= extra <= _MOST_EXTRA:
        return []
    ways = list(islice(_ways(cells, extra, free, delimiter), _MOST_WAYS + 1))
    return [way for way in ways if _one_line_each(way, free) and sound(way)] if len(ways) <= _MOST_WAYS else []


def _one_line_each(cells: Sequence[str], free: Sequence[int]) -> bool:
    """Whether line ends stand in columns of free text only."""
    return not any("\n" in cell for index, cell in enumerate(cells) if index not in free)


def _ways(cells: Sequence[str], extra: int, free: Sequence[int], delimiter: str) -> Iterator[list[str]]:
    """All ways of giving `extra` delimiters to the columns of free text."""
    for owners in combinations_with_replacement(free, extra):
        built: list[str] = []
        at = 0
        for index in range(len(cells) - extra):
            taken = 1 + owners.count(index)
            built.append(delimiter.join(cells[at : at + taken]))
            at += taken
        yield built


def table_records(lines: Iterator[str], delimiter: str, width: int) -> Iterator[tuple[int, list[str]]]:
    """Of a table whose cells may be quoted. Raises Broken.

    sacct quotes nothing, so a name may begin with a quotation mark that nothing closes: lines of `width` cells each are
    records of their own, whatever marks they hold.
    """
    held: list[str] = []
    reader = csv.reader(_kept(lines, held), delimiter=delimiter)
    while True:
        first = reader.line_num + 2
        held.clear()
        problem = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem, cells = f"a row of a table, and found {error}", []
        if (len(held) > 1 or len(cells) != width) and (alone := _alone(held, delimiter, width)):
            yield from enumerate(alone, first)
        elif problem:
            raise Broken(first, problem)
        elif cells and len(cells) != width:
            advice = f"quote values that hold {delimiter!r}, or make the dump with `sacct --parsable2`"
            raise Broken(first, f"{width} columns, and found {len(cells)}: {advice}")
        elif cells:
            yield first, cells


def _kept(lines: Iterable[str], held: list[str]) -> Iterator[str]:
    for line in lines:
        held.append(line)
        yield line


def _alone(lines: Sequence[str], delimiter: str, width: int) -> list[list[str]]:
    """Each line as a record, where all can be one."""
    records = [line.rstrip("\r\n").split(delimiter) for line in lines]
    return records if all(len(cells) == width for cells in records) else []
