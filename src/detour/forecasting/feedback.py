"""Corrects forecasts by the outcome of earlier ones.

If 30 of the last 200 starts were later than their p90, instead of 20, the next p90 is about the 0.95 quantile: the
requested share moves by as much as the share of late starts is off. This halves a lasting error, whatever its cause.
Steps that add up would remove it (adaptive conformal inference: Gibbs & Candès 2021), but over the few hundred bursts
of a history they follow chance, and lose more than they gain. A job that has waited longer than its forecast counts as
late at once, before it starts.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from detour.forecasting.waits import Wait

MEMORY = 200
"""Decided forecasts after which one counts 1/e."""


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
        self._excess = dict.fromkeys(shares, 0.0)
        """Share -> by how much the recent share of late starts exceeded the intended one."""

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
            excess = self._excess[decided.share]
            self._excess[decided.share] += (decided.late - (1 - decided.share) - excess) / MEMORY
        return self._excess[share]
