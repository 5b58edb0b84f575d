"""The types of questions to the scheduler about jobs, and of its answers, without code that asks.

`detour status` imports this, and nothing from the scheduler's room unless a job is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple


class SeenJob(NamedTuple):
    """A job as Slurm reports it."""

    id: str
    state: str
    """Slurm's name for the state."""
    standing: str = "unknown"
    """Its meaning for a chain: a value of `scheduler.states.Standing`."""
    reason: str = ""
    """Slurm's reason why it is pending."""
    starts_s: float | None = None
    """When Slurm expects to start it, in seconds since the epoch, as all times here."""
    is_held: bool = False
    """Whether it waits for a release, held by a person or by Slurm."""
    started_s: float | None = None
    ended_s: float | None = None
    nodes: str = ""
    exit_code: int | None = None
    signal: int | None = None
    """The signal that ended it. Like the exit code, known from sacct once it has ended."""
    before: str = ""
    """Slurm's state at the end of an earlier run, if the job is pending again: PREEMPTED, NODE_FAIL, REQUEUED."""
    seen_s: float = 0.0
    """When Slurm reported this."""
    has_left: bool = False
    """Whether the queue does not list it, and the accounts do not say how it ended."""


class Question(NamedTuple):
    jobs: Sequence[str]
    """Ids as in the ledger: `7`, or `7_3` for one task of an array."""
    users: Sequence[str]
    """Users whose jobs they may be."""
    since_s: float
    """When the first of them was submitted, in seconds since the epoch."""
    every_s: float
    """The site's poll interval."""
    slurm_cluster: str | None = None
    """Which of a site's clusters has the jobs; None for the local one."""
    tried: frozenset[str] = frozenset()
    """Jobs that have run before: if they are pending again, the accounts show why."""


class Reading(NamedTuple):
    taken_s: float
    """When Slurm was last asked."""
    jobs: Mapping[str, SeenJob]
    """Jobs by id; a missing job is unknown, not ended."""
    missing: Sequence[str] = ()
    """What could not be read, and why, as sentences for people."""
    queue_s: float | None = None
    """When the queue was last read; None if never."""


def joined(readings: Iterable[Reading]) -> Reading:
    """One reading of the jobs of all clusters. An id that several of them use is left out: it may be either job."""
    every = list(readings)
    if len(every) == 1:
        return every[0]
    uses = Counter(job for reading in every for job in reading.jobs)
    shared = sorted(job for job in uses if uses[job] > 1)
    return Reading(
        max(reading.taken_s for reading in every),
        {job: seen for reading in every for job, seen in reading.jobs.items() if uses[job] == 1},
        (
            *(said for reading in every for said in reading.missing),
            *(f"several Slurm clusters have a job {job}: it is shown as the ledger has it" for job in shared),
        ),
        min((reading.queue_s for reading in every if reading.queue_s is not None), default=None),
    )


Ask = Callable[[Question], Reading]
