"""What is asked of the scheduler about jobs, and what it answers: the terms, without anything that could ask.

`detour status` imports this, and of the scheduler's room nothing unless a job is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class SeenJob(NamedTuple):
    """A job as Slurm describes it."""

    id: str
    state: str
    """Slurm's name for it."""
    standing: str = "unknown"
    """What that means to a chain: a value of `scheduler.states.Standing`."""
    reason: str = ""
    """Why it waits, in Slurm's word."""
    starts_s: float | None = None
    """When Slurm expects to start it, in seconds since the epoch, as all times here."""
    is_held: bool = False
    """It waits for a release, by a person's hold or Slurm's."""
    started_s: float | None = None
    ended_s: float | None = None
    nodes: str = ""
    exit_code: int | None = None
    signal: int | None = None
    """That ended it; known, as the exit code, once it has ended, from sacct."""
    before: str = ""
    """How an earlier run of a job that waits again ended, in Slurm's word: PREEMPTED, NODE_FAIL, REQUEUED."""
    seen_s: float = 0.0
    """When Slurm said so."""


class Question(NamedTuple):
    jobs: Sequence[str]
    """Ids as the ledger has them: `7`, or `7_3` for one task of an array."""
    users: Sequence[str]
    """Whose jobs they may be."""
    since_s: float
    """When the first of them was submitted, in seconds since the epoch."""
    every_s: float
    """The site's poll interval."""
    slurm_cluster: str | None = None
    """Which of a site's clusters has the jobs; None: this one."""
    tried: frozenset[str] = frozenset()
    """Jobs that have run before: of those that wait again, the accounts tell why."""


class Reading(NamedTuple):
    taken_s: float
    """When Slurm was last asked."""
    jobs: Mapping[str, SeenJob]
    """By id; what is not there is unknown, not ended."""
    missing: Sequence[str] = ()
    """Sentences for people: what is missing, and why."""
    queue_s: float | None = None
    """When the queue was last read; None: never."""


Ask = Callable[[Question], Reading]
