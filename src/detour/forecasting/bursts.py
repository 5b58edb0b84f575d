"""Bursts: jobs of one account and shape that began to wait in one hour, and wait for the same reason.

A burst is one observation, however many jobs it has: each of its jobs has a share of its weight. What jobs alone would
say is that the queue is as it was for the largest burst.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from detour.forecasting.waits import HOUR_S, Observation, Shape, Wait, ended_s, observed

KEPT = 40
"""Bursts that a forecast is made of: the last ones, since a queue changes."""
JOBS_A_BURST = 24
"""Of a larger burst, as many, evenly chosen, say the same."""


@dataclass(slots=True)
class Burst:
    account: str
    hour: int
    waits: list[Wait] = field(default_factory=list)
    settled_s: float = inf
    """From then on nothing more happens to those that stand for all; inf while it is not known."""
    _settled: dict[float, list[Observation]] = field(default_factory=dict)
    """Weight -> what is observed from then on."""

    def add(self, wait: Wait) -> None:
        self.waits.append(wait)
        self.settled_s = inf
        self._settled.clear()

    def observed(self, now_s: float, weight: float = 1.0) -> Sequence[Observation]:
        """What could be known of it at `now_s`."""
        if now_s >= self.settled_s and weight in self._settled:
            return self._settled[weight]
        chosen = self.waits[:: -(-len(self.waits) // JOBS_A_BURST)]
        share = weight / len(chosen)
        seen = [observed(wait, now_s, share) for wait in chosen]
        settled_s = max(ended_s(wait) for wait in chosen)
        if now_s >= settled_s:
            self.settled_s, self._settled[weight] = settled_s, seen
        return seen


class Bursts:
    """The last bursts of each shape. Waits are added in the order in which they began."""

    def __init__(self) -> None:
        self._of_account: dict[tuple[Shape, str], deque[Burst]] = {}
        self._of_shape: dict[Shape, deque[Burst]] = {}

    def add(self, wait: Wait) -> Burst:
        """The burst that it belongs to."""
        own = self._of_account.setdefault((wait.shape, wait.account), deque(maxlen=KEPT))
        if self.begins_one(wait):
            own.append(Burst(wait.account, hour_of(wait)))
            self._of_shape.setdefault(wait.shape, deque(maxlen=2 * KEPT)).append(own[-1])
        own[-1].add(wait)
        return own[-1]

    def begins_one(self, wait: Wait) -> bool:
        """Whether it is the first of its burst."""
        own = self._of_account.get((wait.shape, wait.account))
        return not own or own[-1].hour != hour_of(wait)

    def own(self, shape: Shape, account: str) -> list[Burst]:
        return list(self._of_account.get((shape, account), ()))

    def others(self, shape: Shape, account: str, most: int) -> list[Burst]:
        """The last `most` of other accounts."""
        others = [burst for burst in self._of_shape.get(shape, ()) if burst.account != account]
        return others[-most:] if most > 0 else []


def hour_of(wait: Wait) -> int:
    return int(wait.begun_s // HOUR_S)
