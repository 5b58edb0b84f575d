"""Corrects forecasts by the outcome of earlier ones: adaptive conformal inference (Gibbs & Candès 2021).

A start later than its p90 makes the next p90 a later quantile; one in time makes it an earlier one, by a ninth of that
step. The steps add up, and their sum is bounded, so that in a long history one start in ten is late, whatever the queue
does. Every job counts, not every burst: what is wanted is a share of jobs. A job that has waited longer than its
forecast counts as late at once, before it starts.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from detour.forecasting.waits import Wait

STEP = 1 / 1500
"""Of a share, per job. Larger steps keep the share of late starts closer, and cost more in pinball loss."""
UNDECIDED = 4
"""A step is at most 1 in so many times the jobs that are undecided: on a busy site, where thousands wait, larger steps
would add up before their effect is known, and overshoot."""
MOST = 0.3
"""Bound of the correction: where no quantile is late enough, further steps would only delay the way back."""


class Said(NamedTuple):
    share: float
    """Share of jobs that were to start within the wait."""
    wait_s: float
    late_at: float
    """How late a start at exactly this wait counts: many waits of one length are on both sides of a quantile."""


class _Decided(NamedTuple):
    at_s: float
    number: int
    share: float
    late: float


class Feedback:
    """Call `shift` with times that do not decrease."""

    def __init__(self, shares: Sequence[float]) -> None:
        self._open: list[_Decided] = []
        self._remembered = 0
        self._shifts = dict.fromkeys(shares, 0.0)

    def remember(self, wait: Wait, said: Said) -> None:
        """Record a forecast, to count once it is decided. A job cancelled before then does not count."""
        due_s = wait.begun_s + said.wait_s
        if wait.started_s is not None and wait.started_s <= due_s:
            at_s, late = wait.started_s, said.late_at if wait.started_s == due_s else 0.0
        elif wait.started_s is None and wait.left_s is not None and wait.left_s <= due_s:
            return
        else:
            at_s, late = due_s, 1.0
        self._remembered += 1
        heapq.heappush(self._open, _Decided(at_s, self._remembered, said.share, late))

    def shift(self, share: float, now_s: float) -> float:
        """The correction to add to a share, by what is known at `now_s`."""
        while self._open and self._open[0].at_s <= now_s:
            decided = heapq.heappop(self._open)
            undecided = len(self._open) / len(self._shifts)
            step = min(STEP, 1 / max(1.0, UNDECIDED * undecided))
            moved = self._shifts[decided.share] + step * (decided.late - (1 - decided.share))
            self._shifts[decided.share] = min(MOST, max(-MOST, moved))
        return self._shifts[share]
