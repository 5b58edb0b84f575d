"""Bursts: jobs of one account and shape that began to wait in one hour, and wait for the same reason.

A burst is one observation, however many jobs it has: each job has a share of its weight. Otherwise the largest burst
would decide what the queue is like.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, inf
from typing import NamedTuple

from detour.forecasting.waits import HOUR_S, Observation, Shape, Wait, ended_s, observed, weighed

OWN, ALL = 40, 80
"""Bursts of the account, and of all accounts, on which a forecast is based: only the latest, as a queue changes."""
MAX_JOBS_PER_BURST = 24
"""Upper bound on jobs observed per burst, evenly spaced; more would say the same."""
OTHERS_WEIGHT = 0.25
"""Weight of a burst of another account, relative to one of its own."""
FADING = 60.0
"""Bursts after which one counts 1/e of the latest: the queue of a month ago says less than that of this week."""


@dataclass(slots=True)
class Burst:
    account: str
    hour: int
    waits: list[Wait] = field(default_factory=list)
    settled_s: float = inf
    """When the last of the observed jobs started or was cancelled; inf if not known yet."""
    _settled: list[Observation] | None = None
    """Its final observations."""

    def add(self, wait: Wait) -> None:
        self.waits.append(wait)
        self.settled_s = inf
        self._settled = None

    def observed(self, now_s: float) -> Sequence[Observation]:
        """What could be known about it at `now_s`, with a total weight of one; nothing if all of it was cancelled."""
        if self._settled is not None and now_s >= self.settled_s:
            return self._settled
        chosen = self.waits[:: -(-len(self.waits) // MAX_JOBS_PER_BURST)]
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
    """The last bursts of each shape. Waits must be added in the order in which they began."""

    def __init__(self) -> None:
        self._of_account: dict[tuple[Shape, str], deque[Burst]] = {}
        self._of_shape: dict[Shape, deque[Burst]] = {}

    def add(self, wait: Wait) -> Burst:
        """Add a wait; returns its burst."""
        own = self._of_account.setdefault((wait.shape, wait.account), deque(maxlen=OWN))
        if not own or own[-1].hour != _hour(wait.begun_s):
            own.append(Burst(wait.account, _hour(wait.begun_s)))
            self._of_shape.setdefault(wait.shape, deque(maxlen=ALL)).append(own[-1])
        own[-1].add(wait)
        return own[-1]

    def begun(self, shape: Shape, account: str, now_s: float) -> int:
        """Number of jobs in the burst of this hour so far."""
        own = self._of_account.get((shape, account))
        return len(own[-1].waits) if own and own[-1].hour == _hour(now_s) else 0

    def similar(self, shape: Shape, account: str) -> list[Weighed]:
        """The last bursts of the account and of all others, newest first."""
        own = self._of_account.get((shape, account), ())
        others = [burst for burst in self._of_shape.get(shape, ()) if burst.account != account]
        newest = sorted([*own, *others], key=lambda burst: -burst.hour)
        return [
            Weighed(burst, exp(-place / FADING) * (1.0 if burst.account == account else OTHERS_WEIGHT))
            for place, burst in enumerate(newest)
        ]


def _hour(at_s: float) -> int:
    return int(at_s // HOUR_S)
