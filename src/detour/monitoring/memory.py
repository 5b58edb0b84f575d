"""What a monitor remembers between two looks, so that another look costs only what is new.

A chain without new events is shown as before until it ages: by the second if it is running, by some seconds if it is
pending. From time to time everything is read again, for changes without an event: a marker that a person removed, a
journal that continues after a long pause.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from detour.monitoring.queries import Readings
from detour.monitoring.status import ChainStatus
from detour.planning.files import ChainOutline
from detour.planning.selection import Known

FULL_S = 30.0
"""Seconds between looks at everything."""
AGES_S = {"running": 2.0, "unknown": 2.0, "submitted": 10.0}
"""Status -> seconds for which a stage may be shown as before."""


class _Kept(NamedTuple):
    planned: ChainOutline
    status: ChainStatus
    asked_s: float
    until_s: float


class Memory:
    def __init__(self) -> None:
        self.needed_by: Mapping[str, Sequence[str]] = {}
        """Stage -> the chains that need it."""
        self._known: Known | None = None
        self._chains: dict[str, _Kept] = {}
        self._full_s = float("-inf")

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to read everything."""
        return not 0 <= now_s - self._full_s < FULL_S

    def look(self, now_s: float, known: Known, touched: Collection[str], *, is_full: bool) -> None:
        """Begin a look: forget what may have changed."""
        if known is not self._known:
            self._known, self.needed_by = known, known.needed_by()
            is_full = True
        if is_full:
            self._chains.clear()
            self._full_s = now_s
            return
        for stage in touched:
            for chain in self.needed_by.get(stage, ()):
                self._chains.pop(chain, None)

    def chain(self, planned: ChainOutline, readings: Readings, now_s: float) -> ChainStatus | None:
        """The chain's status at an earlier look, if still valid."""
        kept = self._chains.get(planned.chain)
        if kept is None or kept.planned is not planned or kept.asked_s != readings.taken_s or now_s >= kept.until_s:
            return None
        return kept.status

    def keep(self, planned: ChainOutline, status: ChainStatus, readings: Readings, now_s: float) -> None:
        ages_s = (AGES_S[row.status] for row in status.stages if row.status in AGES_S)
        until_s = now_s + min(ages_s, default=FULL_S)
        self._chains[planned.chain] = _Kept(planned, status, readings.taken_s, until_s)
