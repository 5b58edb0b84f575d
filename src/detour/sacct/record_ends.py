"""Find where a record ends if names may contain line ends: by the next line's cells before any name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from detour.sacct.building import RowBuilder
from detour.sacct.heading import Table
from detour.sacct.records import fitting


@dataclass(frozen=True, slots=True)
class Continuing:
    """Decides whether lines continue records. `begins` is `build.beginning` for the columns of free text."""

    table: Table
    build: RowBuilder
    begins: Callable[[Sequence[str]], bool | None]

    @classmethod
    def of(cls, table: Table, build: RowBuilder) -> Continuing:
        return cls(table, build, build.beginning(table.free))

    def goes_on(self, cells: Sequence[str], more: Sequence[str]) -> bool:
        """Whether a record with all its cells continues in a line with fewer. If the line does not decide it, it does
        if both together can be a record, or the first alone cannot."""
        new = self.begins(more)
        return not new if new is not None else self._fits(_joined(cells, more)) or not self._fits(cells)

    def may_be_two(self, cells: Sequence[str]) -> bool:
        """Whether a record could also end at one of its line ends."""
        delimiter = self.table.delimiter
        first, *rest = (line.split(delimiter) for line in delimiter.join(cells).split("\n"))
        for more in rest:
            if len(first) >= len(self.table.header) and self.begins(more) is None and self._fits(first):
                return True
            first = _joined(first, more)
        return False

    def _fits(self, cells: Sequence[str]) -> bool:
        """Whether the cells are a complete record, or can be joined to one in some way."""
        table = self.table
        row = table.without_tail(cells)
        return bool(fitting(row, table.delimiter, len(table.header), table.free, self.build))


def _joined(cells: Sequence[str], more: Sequence[str]) -> list[str]:
    return [*cells[:-1], f"{cells[-1]}\n{more[0]}", *more[1:]]
