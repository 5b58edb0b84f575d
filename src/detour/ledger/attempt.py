"""One run of one stage, as the code that does the work sees it: tell what happens, and ask whether to stop."""

from __future__ import annotations

import time
from typing import Any

from detour.ledger.journal import Journal

FINEST_S, COARSEST_S = 1.0, 30.0
THINNING = 300
"""An attempt of `a` seconds tells its progress every a/300 s, between 1 s and 30 s: some 2,000 records in ten hours."""


class Attempt:
    """Ranks other than 0 get a silent one, without a journal; they still see the reason to stop."""

    def __init__(
        self,
        journal: Journal | None = None,
        *,
        stage: str | None = None,
        chain: str | None = None,
        job: str | None = None,
        number: int | None = None,
    ) -> None:
        self.journal = journal
        self.stage, self.chain, self.job, self.number = stage, chain, job, number
        self._stop_reason: str | None = None
        self._began = time.monotonic()
        self._told = float("-inf")
        self._held: dict[str, Any] | None = None
        self._names: frozenset[str] = frozenset()

    def event(self, kind: str, /, *, sync: bool | None = None, **data: Any) -> None:
        """Journal an event of this attempt, synced unless its kind is lazy; progress held back is told before it."""
        if self.journal is None:
            return
        self._tell_held()
        self._append(kind, data, sync)

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:
        """Cheap enough for every step: told about once a second, more rarely in a long attempt, and at the end.

        A figure that the call before did not have (a validation loss among the steps' losses) is told at once. The
        others are the latest when told.
        """
        if self.journal is None:
            return
        if self._held is not None and self._held["unit"] != unit:
            self._tell_held()
        names = frozenset(figures)
        news = not names <= self._names or done >= total
        self._names = names
        now = time.monotonic()
        interval = min(max((now - self._began) / THINNING, FINEST_S), COARSEST_S)
        self._held = {"done": done, "total": total, "unit": unit, "figures": figures}
        if news or now - self._told >= interval:
            self._tell_held()

    @property
    def stop_reason(self) -> str | None:
        """Why to save and stop at the next safe point; None to go on."""
        return self._stop_reason

    def request_stop(self, reason: str) -> None:
        """The first reason stays. May be called from a signal handler, which returns at once."""
        if self._stop_reason is None:
            self._stop_reason = reason

    def _tell_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._told = time.monotonic()
            self._append("progress", held, None)

    def _append(self, kind: str, data: dict[str, Any], sync: bool | None) -> None:
        if self.journal is not None:
            self.journal.record(
                kind, data, chain=self.chain, stage=self.stage, job=self.job, attempt=self.number, sync=sync
            )
