"""What became of past forecasts, taken back into the next ones.

If 30 of the last 200 starts were later than their p90, which 20 should have been, the next p90 is about the 0.95
quantile: the share that is asked for moves by as much as the share of late ones is off, so that an error that lasts is
halved, whatever made it. Steps that add up would remove it (adaptive conformal inference: Gibbs & Candès 2021), but
over the few hundred bursts of a history they follow chance, and lose more than they gain. A job that has waited beyond
its forecast is late at once, before it starts.
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
    """That was to start within the wait."""
    wait_s: float
    late_at: float
    """How late a start is that comes exactly then: many waits of one length are on both sides of a quantile."""


class _Decided(NamedTuple):
    at_s: float
    number: int
    share: float
    late: float


class Feedback:
    """`shift` is asked for at times that do not go back."""

    def __init__(self, shares: Sequence[float]) -> None:
        self._open: list[_Decided] = []
        self._remembered = 0
        self._excess = dict.fromkeys(shares, 0.0)
        """Share -> late ones beyond those that should be, as a share, of the last ones."""

    def remember(self, wait: Wait, said: Said) -> None:
        """What will be known of it, and when. One that is cancelled before it is decided says nothing."""
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
        """To be added to a share, by what is known at `now_s`."""
        while self._open and self._open[0].at_s <= now_s:
            decided = heapq.heappop(self._open)
            excess = self._excess[decided.share]
            self._excess[decided.share] += (decided.late - (1 - decided.share) - excess) / MEMORY
        return self._excess[share]
