"""Bursts: jobs of one account and shape that began to wait in one hour, and wait for the same reason.

A burst is one observation, however many jobs it has: each of its jobs has a share of its weight. What jobs alone would
say is that the queue is as it was for the largest burst.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, inf
from typing import NamedTuple

from detour.forecasting.waits import HOUR_S, Observation, Shape, Wait, ended_s, observed, weighed

OWN, ALL = 40, 80
"""Last bursts of the account, and of all accounts, that a forecast is made of: a queue changes."""
JOBS_A_BURST = 24
"""Of a larger burst, as many, evenly chosen, say the same."""
OTHERS_WEIGHT = 0.25
"""Of a burst of another account, beside one of its own."""
FADING = 60.0
"""Bursts after which one counts 1/e of the last: the queue of a month ago says less than that of this week."""


@dataclass(slots=True)
class Burst:
    account: str
    hour: int
    waits: list[Wait] = field(default_factory=list)
    settled_s: float = inf
    """From then on nothing more happens to those that stand for all; inf while it is not known."""
    _settled: list[Observation] | None = None
    """What is observed from then on."""

    def add(self, wait: Wait) -> None:
        self.waits.append(wait)
        self.settled_s = inf
        self._settled = None

    @property
    def numbered(self) -> list[tuple[int, Wait]]:
        """Those that stand for all, with their numbers in it, from 0."""
        return list(enumerate(self.waits))[:: -(-len(self.waits) // JOBS_A_BURST)]

    def observed(self, now_s: float) -> Sequence[Observation]:
        """What could be known of it at `now_s`, of a weight of one in all; nothing where all of it was cancelled."""
        if self._settled is not None and now_s >= self.settled_s:
            return self._settled
        chosen = [wait for _, wait in self.numbered]
        known = [one for wait in chosen if (one := observed(wait, now_s)) is not None]
        seen = weighed(known, 1.0 / len(known)) if known else []
        settled_s = max(ended_s(wait) for wait in chosen)
        if now_s >= settled_s:
            self.settled_s, self._settled = settled_s, seen
        return seen


class Weighed(NamedTuple):
    burst: Burst
    weight: float


class Bursts:
    """The last bursts of each shape. Waits are added in the order in which they began."""

    def __init__(self) -> None:
        self._of_account: dict[tuple[Shape, str], deque[Burst]] = {}
        self._of_shape: dict[Shape, deque[Burst]] = {}

    def add(self, wait: Wait) -> Burst:
        """The burst that it belongs to."""
        own = self._of_account.setdefault((wait.shape, wait.account), deque(maxlen=OWN))
        if not own or own[-1].hour != _hour(wait.begun_s):
            own.append(Burst(wait.account, _hour(wait.begun_s)))
            self._of_shape.setdefault(wait.shape, deque(maxlen=ALL)).append(own[-1])
        own[-1].add(wait)
        return own[-1]

    def begun(self, shape: Shape, account: str, now_s: float) -> int:
        """Jobs that the burst of this hour has so far."""
        own = self._of_account.get((shape, account))
        return len(own[-1].waits) if own and own[-1].hour == _hour(now_s) else 0

    def similar(self, shape: Shape, account: str) -> list[Weighed]:
        """The last ones of the account, and of all, newest first."""
        own = self._of_account.get((shape, account), ())
        others = [burst for burst in self._of_shape.get(shape, ()) if burst.account != account]
        newest = sorted([*own, *others], key=lambda burst: -burst.hour)
        return [
            Weighed(burst, exp(-place / FADING) * (1.0 if burst.account == account else OTHERS_WEIGHT))
            for place, burst in enumerate(newest)
        ]


def _hour(at_s: float) -> int:
    return int(at_s // HOUR_S)
