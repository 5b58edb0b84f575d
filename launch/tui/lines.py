"""The lines of the view: chains, worst first, with the stages and seeds of those that are open. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from detour.launch.text.folding import Folded, folded
from detour.launch.text.overview import ChainTable
from detour.launch.text.states import QUIET, colour_of
from detour.launch.text.status import stage_headings, stage_line
from detour.monitoring.status import ChainStatus, StageRow, Status, worst_first
from detour.text import plain

INDENT = 2
CLOSED, OPEN, LEAF = "+ ", "- ", "  "


class View(NamedTuple):
    """What a person wants to see of a status."""

    opened: frozenset[str] = frozenset()
    """Keys of lines whose parts are listed below them."""
    is_without_done: bool = False
    search: str = ""
    """Part of the name of a chain, sweep, user or stage."""

    @property
    def conditions(self) -> list[str]:
        """What leaves chains out, in words."""
        done = ["done ones hidden"] if self.is_without_done else []
        return [*done, *([f"only with {self.search!r}"] if self.search else [])]

    def toggled(self, key: str) -> View:
        return self._replace(opened=self.opened ^ {key})


class Line(NamedTuple):
    """A chain, a stage, all seeds of a task, or headings, which have no chain."""

    key: str
    """The same in every status."""
    text: str
    colour: str
    """A code of `text.states`."""
    chain: ChainStatus | None = None
    stages: tuple[StageRow, ...] = ()
    """Empty for a chain."""
    has_parts: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What verbs call it; empty for headings."""
        if self.chain is None:
            return ()
        return tuple(row.id for row in self.stages) or (self.chain.name,)

    @property
    def label(self) -> str:
        """What people call it."""
        if self.chain is None or not self.stages:
            return plain(self.chain.name) if self.chain else ""
        stage = self.stages[0]
        name = stage.label if len(self.stages) == 1 else f"{stage.name}, {len(self.stages)} seeds"
        return plain(f"{self.chain.name}/{name}")


def headings(status: Status, width: int) -> str:
    return LEAF + ChainTable(status.chains, width - INDENT).headings


def lines_of(status: Status, view: View, width: int) -> list[Line]:
    """The lines that the view shows, in so many columns."""
    table = ChainTable(status.chains, width - INDENT)
    shown = [chain for chain in worst_first(status.chains) if _is_shown(chain, view)]
    return [line for chain in shown for line in _chain_lines(chain, table, status.now_s, view.opened, width)]


def _is_shown(chain: ChainStatus, view: View) -> bool:
    if view.is_without_done and chain.is_done:
        return False
    names = (chain.name, chain.sweep, chain.user, *(row.label for row in chain.stages))
    return any(view.search.casefold() in (name or "").casefold() for name in names)


def _chain_lines(
    chain: ChainStatus, table: ChainTable, now_s: float, opened: frozenset[str], width: int
) -> Iterator[Line]:
    is_open = chain.name in opened
    text = (OPEN if is_open else CLOSED) + table.line(chain, now_s)
    yield Line(chain.name, text, colour_of(chain.state, chain.needs_person), chain, has_parts=True)
    if not is_open:
        return
    yield Line(f"{chain.name}/", " " * 2 * INDENT + stage_headings(width - 2 * INDENT), QUIET)
    for group in folded(chain.stages):
        key = f"{chain.name}/{group.rows[0].id}"
        yield _stage(key, chain, group.rows, opened, 1, width)
        if key in opened and len(group.rows) > 1:
            yield from (_stage(f"{key}/{row.seed}", chain, (row,), opened, 2, width) for row in group.rows)


def _stage(
    key: str, chain: ChainStatus, rows: Sequence[StageRow], opened: frozenset[str], depth: int, width: int
) -> Line:
    group = Folded(tuple(rows))
    has_parts = len(rows) > 1
    sign = LEAF if not has_parts else OPEN if key in opened else CLOSED
    before = " " * depth * INDENT + sign
    worst = group.worst
    text = before + stage_line(group, width - len(before))
    return Line(key, text, colour_of(worst.state, worst.needs_person), chain, group.rows, has_parts)
