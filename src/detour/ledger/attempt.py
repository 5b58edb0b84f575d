"""One run of one stage, for the code that does the work: record events, and ask whether to stop."""

from __future__ import annotations

import time
from collections.abc import Callable

from detour.ledger.events import Event, ProgressMade
from detour.ledger.journal import Journal

FINEST_S, COARSEST_S = 1.0, 30.0
THINNING = 300
"""An attempt of `a` seconds records progress every a/300 s, between 1 s and 30 s: about 2,000 records in ten hours."""
BEGINS = "begins: "
"""Precedes the stage's id in the first line of an attempt, in each rank's log; marks the attempt's part of the log."""


class Attempt:
    """Records one attempt. Ranks other than 0 have one without a journal, which still gives the reason to stop."""

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
        self._recorded_s = float("-inf")
        self._latest: ProgressMade | None = None
        self._names: frozenset[str] = frozenset()
        self.listeners: list[Callable[[Event], None]] = []
        """Called with every event right after it was journalled, in the same thread."""
        self.stop_listeners: list[Callable[[str], None]] = []
        """Called with the reason of every request to stop, in a signal handler or a timer's thread."""

    def event(self, event: Event) -> None:
        """Journal an event of this attempt, after any progress that was held back."""
        if self.journal is None:
            return
        self._record_latest()
        self._append(event)

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:
        """Record progress. Cheap enough for every step: records about once a second, less often in a long attempt.

        The end is always recorded, as is a figure that the previous call did not have (a validation loss among the
        steps' losses). Otherwise only the latest figures are.
        """
        if self.journal is None:
            return
        if self._latest is not None and self._latest.unit != unit:
            self._record_latest()
        names = frozenset(figures)
        is_new = not names <= self._names or done >= total
        self._names = names
        now_s = time.monotonic()
        interval_s = min(max((now_s - self._began) / THINNING, FINEST_S), COARSEST_S)
        self._latest = ProgressMade(done=done, total=total, unit=unit, figures=figures)
        if is_new or now_s - self._recorded_s >= interval_s:
            self._record_latest()

    @property
    def stop_reason(self) -> str | None:
        """Why to save and stop at the next safe point; None to continue."""
        return self._stop_reason

    def request_stop(self, reason: str) -> None:
        """Request a stop; the first reason is kept. May be called from a signal handler and returns at once."""
        if self._stop_reason is None:
            self._stop_reason = reason
        for listener in self.stop_listeners:
            listener(reason)

    def _record_latest(self) -> None:
        latest, self._latest = self._latest, None
        if latest is not None:
            self._recorded_s = time.monotonic()
            self._append(latest)

    def _append(self, event: Event) -> None:
        if self.journal is not None:
            self.journal.append(event, chain=self.chain, stage=self.stage, job=self.job, attempt=self.number)
            for listener in self.listeners:
                listener(event)
