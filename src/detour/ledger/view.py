"""The one way to read the ledger: its folded state, and the events of commands that the fold does not keep.

Refreshing reads what is new; between commands, a cache on this node keeps what was read (see `cache`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from detour.ledger import cache
from detour.ledger.events import BudgetEvent, ChainPlanned, ChainPriced, Event, ForecastEvent, JobEvent
from detour.ledger.reading import Damage, LedgerReader, Selection
from detour.ledger.record import Entry, in_time, once
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from detour.text import counted

WORTH_KEEPING = 2_000
"""New records since the cache was written from which rereading them would be noticeable."""
WORTH_SHARE = 0.02
"""Share of all records: writing a large state to the cache takes as long as reading that many."""
KEPT = (JobEvent, BudgetEvent, ChainPlanned, ChainPriced, ForecastEvent)

E = TypeVar("E", bound=Event)


class LedgerView:
    """`state` and `commands` are as of the last `refresh`, which the constructor also calls."""

    def __init__(self, workspace: Workspace, also: Selection | None = None) -> None:
        """`also` names the events that `selected` returns; if all journals are to be read, it takes them in passing."""
        self.workspace, self._also = workspace, also
        cached = cache.restore(workspace)
        self.stamp = cached and cached.stamp
        """Stamp of the cached state that this one extends, in the stages in `touched`; None if there is none."""
        self._stamp = self.stamp
        """Stamp of the cached commands until they are needed; None if all are in memory."""
        self.state = cached.state if cached else State()
        self._reader = cached.reader if cached else LedgerReader(workspace)
        self.touched: set[str] = set()
        """Stages for which something was read or lost; callers that use it empty it."""
        self._commands: dict[tuple[str, int], Entry[Any]] = {}
        self._selected: list[Entry[Any]] | None = [] if also and cached is None else None
        """None if the journals are not read from their start."""
        self._kept_records = self.state.records
        self.refresh()

    def refresh(self, *, lately: bool = False) -> None:
        """Read what is new; `lately` only from new journals and those written within the last minutes."""
        for batch in self._reader.read_new(lately=lately):
            self.touched |= self.state.add(batch)
            self._remember(batch)
            self._select(batch)
        if self._reader.has_lost:
            self._start_over()
            return
        if self.state.records - self._kept_records >= max(WORTH_KEEPING, self.state.records * WORTH_SHARE):
            self.stamp = cache.keep(self.workspace, self.state, self._reader, self._all_commands().values())
            self._kept_records = self.state.records

    def commands(self, kind: type[E]) -> list[Entry[E]]:
        """Events of this kind, which must be among `KEPT`: each once, in order of wall-clock time."""
        found = [entry for entry in self._all_commands().values() if isinstance(entry.event, kind)]
        return sorted(found, key=in_time)

    def selected(self) -> list[Entry[Any]]:
        """The events that `also` names, each once, in each writer's order."""
        if self._also is None:
            return []
        if self._selected is None:
            return cache.history(self.workspace, *self._also)
        entries = once(self._selected)
        cache.keep_history(self.workspace, self._also, entries, self._reader)
        return entries

    @property
    def damage(self) -> Damage:
        return self._reader.damage

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be read from the ledger, as sentences for people."""
        return tuple(self._warnings())

    def _warnings(self) -> Iterator[str]:
        damage = self.damage
        if bad := damage.bad_lines + self.state.damaged_sources:
            yield f"left out of the ledger: {counted(bad, 'damaged line')}"
        if self.state.missing:
            yield f"missing from the ledger: {counted(self.state.missing, 'event')}"
        if damage.foreign_in_words:
            yield damage.foreign_in_words
        if damage.unreadable:
            first, *others = damage.unreadable
            yield f"not readable: {first}" + (f", and {counted(len(others), 'other journal')}" if others else "")

    def _start_over(self) -> None:
        """Forget what was read: a full disk or a person has cut or replaced a journal."""
        self.touched |= self.state.stages.keys()
        self.stamp = self._stamp = None
        self.state, self._reader, self._commands = State(), LedgerReader(self.workspace), {}
        self._selected = None if self._also is None else []
        self._kept_records = 0
        self.refresh()

    def _remember(self, entries: Iterable[Entry[Any]]) -> None:
        self._commands |= {(entry.writer, entry.sequence): entry for entry in entries if isinstance(entry.event, KEPT)}

    def _select(self, entries: Iterable[Entry[Any]]) -> None:
        if self._selected is not None and self._also is not None:
            self._selected += self._also.among(entries)

    def _all_commands(self) -> dict[tuple[str, int], Entry[Any]]:
        if self._stamp is not None:
            kept = cache.restore_commands(self.workspace, self._stamp)
            self._stamp = None
            for batch in LedgerReader(self.workspace).read_new() if kept is None else (kept,):
                self._remember(batch)
        return self._commands
