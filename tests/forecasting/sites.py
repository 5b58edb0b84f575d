"""Synthetic sites: what their users request, and their rows of sacct after scheduling by `backfill`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.forecasting.backfill import Job, Machine, schedule

HOUR_S = 3600
DAY_S = 24 * HOUR_S
BEGAN_S = datetime(2026, 1, 5, tzinfo=UTC).timestamp()


@dataclass(frozen=True)
class Site:
    units: int
    """Nodes, or GPUs."""
    gpus: bool
    load: float
    """Mean demand as a share of the machine's capacity."""
    users: int = 60
    burst: Callable[[random.Random], int] = lambda chance: 1 + int(chance.expovariate(1 / 4))
    sizes: Sequence[int] = (1, 1, 1, 2, 2, 4, 8, 16)
    limits_h: Sequence[float] = (0.5, 1, 4, 12, 24, 48)
    arrays: float = 0.3
    """Share of bursts that are one array."""
    dependent: float = 0.1
    """Share of jobs that wait for the one before them."""
    cancelled: float = 0.05
    """Share of jobs that are cancelled if they wait long."""
    large_first: bool = False
    most_running: int = 1_000_000
    """Upper bound on units of one user."""
    every_s: int = 30
    """Seconds between two passes of the scheduler."""


SITES: Mapping[str, Site] = {
    "full, sizes mixed": Site(512, False, 0.92),
    "large jobs first": Site(
        1024, False, 0.95, users=30, sizes=(64, 128, 128, 256, 512), limits_h=(1, 3, 6, 12, 24), large_first=True
    ),
    "mostly idle": Site(400, False, 0.55, users=80, every_s=1),
    "full, short jobs, arrays": Site(
        256, False, 0.75, burst=lambda chance: min(400, int(chance.paretovariate(0.9))), limits_h=(0.25, 0.5, 1, 4)
    ),
    "GPUs, a limit a user": Site(
        448, True, 0.7, users=120, sizes=(1, 1, 2, 2, 4, 8), limits_h=(4, 12, 24, 96), most_running=64
    ),
    "GPUs, full for days": Site(128, True, 0.97, users=25, sizes=(1, 2, 4, 4, 8, 16), limits_h=(2, 20, 20, 48)),
}


def asked(site: Site, chance: random.Random, jobs: int) -> list[Job]:
    """Jobs by submission time. Users have habits: their sizes, limits, and number of bursts."""
    habits = [
        (
            chance.lognormvariate(0, 1.2),
            chance.choice(site.sizes),
            chance.choice(site.limits_h),
            chance.uniform(0.05, 1),
        )
        for _ in range(site.users)
    ]
    made, bursts = list[Job](), list[int]()
    while len(made) < jobs:
        user = chance.choices(range(site.users), [activity for activity, *_ in habits])[0]
        _, size, limit_h, used = habits[user]
        if chance.random() < 0.4:
            size, limit_h = chance.choice(site.sizes), chance.choice(site.limits_h)
        array = len(made) + 1 if chance.random() < site.arrays else None
        bursts.append(len(made))
        for index in range(site.burst(chance)):
            limit_s = limit_h * HOUR_S
            runs_s = float(int(min(limit_s, limit_s * used * math.exp(chance.gauss(-0.5, 0.8)))) + 1)
            patience_s = chance.expovariate(1 / (6 * HOUR_S)) if chance.random() < site.cancelled else math.inf
            depends = index > 0 and array is None and chance.random() < site.dependent
            after = len(made) if depends else None
            task = (array, index) if array else None
            made.append(Job(len(made) + 1, user, size, limit_s, runs_s, patience_s, task, after))
    work_s = sum(job.size * job.runs_s for job in made)
    _submit(made, bursts, chance, work_s / site.units / site.load)
    return sorted(made, key=lambda job: job.submit_s)


def _submit(jobs: Sequence[Job], bursts: Sequence[int], chance: random.Random, span_s: float) -> None:
    """Bursts in order, over about this many seconds, more by day than by night."""
    mean_s, now_s = span_s / len(bursts), BEGAN_S
    for begin, end in zip(bursts, [*bursts[1:], len(jobs)], strict=True):
        while True:
            now_s += chance.expovariate(2 / mean_s)
            day = (now_s - BEGAN_S) // DAY_S % 7
            busy = 1.0 if 8 <= now_s / HOUR_S % 24 < 20 else 0.25
            if chance.random() < busy * (0.9 if day < 5 else 0.4):
                break
        at_s = now_s
        for job in jobs[begin:end]:
            at_s += 0 if job.array else chance.expovariate(1 / 4)
            job.submit_s = float(int(at_s))


HEADER = "JobIDRaw|JobID|User|Account|State|Submit|Eligible|Start|End|Timelimit|NodeList|NNodes|AllocTRES|ReqTRES"


def log(site: Site, seed: int, jobs: int) -> list[str]:
    """The header, and the rows of at least this many jobs, until the last of them was submitted."""
    made = asked(site, random.Random(seed), jobs)
    machine = Machine(site.units, site.most_running, site.every_s, site.large_first)
    schedule(made, machine, max(job.submit_s for job in made))
    return [HEADER, *("|".join(_cells(site, job)) for job in made)]


def _cells(site: Site, job: Job) -> tuple[str, ...]:
    if job.start_s is not None:
        state = "RUNNING" if job.end_s is None else "TIMEOUT" if job.runs_s >= job.limit_s else "COMPLETED"
    else:
        state = "PENDING" if job.end_s is None else f"CANCELLED by {1000 + job.user}"
    gone = job.start_s is None and job.end_s is not None
    tres = f"cpu={8 * job.size},gres/gpu={job.size}" if site.gpus else f"cpu={40 * job.size},node={job.size}"
    hours, rest = divmod(int(job.limit_s), HOUR_S)
    days, hours = divmod(hours, 24)
    return (
        str(job.number),
        f"{job.array[0]}_{job.array[1]}" if job.array else str(job.number),
        f"u{job.user}",
        f"g{job.user // 3}",
        state,
        _time(job.submit_s),
        _time(job.eligible_s),
        _time(job.end_s if gone else job.start_s),
        _time(job.end_s),
        f"{days}-{hours:02}:{rest // 60:02}:00",
        "n[1-9]" if job.start_s is not None else "None assigned",
        str(-(-job.size // 4) if site.gpus else job.size),
        tres if job.start_s is not None else "",
        tres,
    )


def _time(at_s: float | None) -> str:
    return "Unknown" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
