"""A queue with backfill: the first job that does not fit has a reservation, which others do not delay (Lifka 1995)."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

DEPTH = 100
"""Number of pending jobs considered."""
LARGE_FIRST_S = 40 * 3600.0
"""Head start over a job of half the size, if large jobs come first."""


@dataclass
class Job:
    number: int
    user: int
    size: int
    limit_s: float
    runs_s: float
    patience_s: float
    """Seconds after which it is cancelled if still pending."""
    array: tuple[int, int] | None
    """Numbers of the array and of the task."""
    after: int | None
    """The job it waits for."""
    submit_s: float = 0.0
    eligible_s: float | None = None
    start_s: float | None = None
    end_s: float | None = None
    """Set also if it was cancelled while pending."""


@dataclass
class Machine:
    free: int
    most_running: int
    """Upper bound on units of one user."""
    every_s: int
    """Seconds between two passes of the scheduler."""
    large_first: bool
    now_s: float = 0.0
    running: list[tuple[float, int, Job]] = field(default_factory=list)
    used: Counter[int] = field(default_factory=Counter)
    """User -> units."""
    waiting: list[Job] = field(default_factory=list)

    def next_look_s(self, coming_s: float) -> float:
        next_s = min(coming_s, self.running[0][0] if self.running else math.inf)
        return next_s if next_s == math.inf else float(math.ceil(next_s / self.every_s) * self.every_s)

    def start(self, job: Job) -> None:
        job.start_s, job.end_s = self.now_s, self.now_s + job.runs_s
        self.free -= job.size
        self.used[job.user] += job.size
        heapq.heappush(self.running, (job.end_s, job.number, job))

    def ended(self) -> Iterator[Job]:
        while self.running and self.running[0][0] <= self.now_s:
            _, _, job = heapq.heappop(self.running)
            self.free += job.size
            self.used[job.user] -= job.size
            yield job

    def cancelled(self) -> Iterator[Job]:
        for job in list(self.waiting):
            if job.eligible_s is not None and job.eligible_s + job.patience_s <= self.now_s:
                job.end_s = float(int(job.eligible_s + job.patience_s))
                self.waiting.remove(job)
                yield job

    def room_for(self, job: Job) -> tuple[float, int]:
        """When it will start at the latest, within limits, and what is free next to it then."""
        free = self.free
        for end_s, size in sorted(((one.start_s or 0.0) + one.limit_s, one.size) for *_, one in self.running):
            free += size
            if free >= job.size:
                return end_s, free - job.size
        return math.inf, 0

    def look(self) -> None:
        if self.large_first:
            self.waiting.sort(key=lambda job: (job.eligible_s or 0.0) - LARGE_FIRST_S * math.log2(job.size))
        reserved: tuple[float, int] | None = None
        for job in list(islice(self.waiting, DEPTH)):
            if self.used[job.user] + job.size > max(self.most_running, job.size):
                continue
            if job.size > self.free:
                reserved = reserved or self.room_for(job)
                continue
            if reserved is not None and self.now_s + job.limit_s > reserved[0]:
                if job.size > reserved[1]:
                    continue
                reserved = reserved[0], reserved[1] - job.size
            self.start(job)
            self.waiting.remove(job)


def schedule(jobs: Sequence[Job], machine: Machine, until_s: float) -> None:
    """Fill in when jobs became eligible, started and ended."""
    coming = [(job.submit_s, job.number, job) for job in jobs if job.after is None]
    heapq.heapify(coming)
    dependents = {job.after: job for job in jobs if job.after is not None}
    while (now_s := machine.next_look_s(coming[0][0] if coming else math.inf)) < until_s:
        machine.now_s = now_s
        for job in [*machine.ended(), *machine.cancelled()]:
            if (one := dependents.pop(job.number, None)) is not None:
                heapq.heappush(coming, (max(one.submit_s, job.end_s or 0.0), one.number, one))
        while coming and coming[0][0] <= machine.now_s:
            eligible_s, _, job = heapq.heappop(coming)
            job.eligible_s = eligible_s
            machine.waiting.append(job)
        machine.look()
    for job in jobs:
        if job.end_s is not None and job.end_s > until_s:
            job.end_s = None
