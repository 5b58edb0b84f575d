"""The types of questions to the scheduler about jobs, and of its answers, without code that asks.

`detour status` imports this, and nothing from the scheduler's room unless a job is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from detour.ledger.stages import StageState


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
    """When Slurm expects to start it, unless it is held, in seconds since the epoch, as all times here."""
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
    """A time before the first of the jobs was submitted, in seconds since the epoch."""
    every_s: float
    """The site's poll interval."""
    slurm_cluster: str | None = None
    """Which of a site's clusters has the jobs; None for the local one."""
    tried: frozenset[str] = frozenset()
    """Jobs that have run before: if they are pending again, the accounts show why."""


class Reading(NamedTuple):
    """What one Slurm cluster reports."""

    taken_s: float
    """When Slurm was last asked."""
    jobs: Mapping[str, SeenJob]
    """Jobs by id; a missing job is unknown, not ended."""
    missing: Sequence[str] = ()
    """What could not be read, and why, as sentences for people."""
    queue_s: float | None = None
    """When the queue was last read; None if never."""


class Readings(NamedTuple):
    """The last reading of each Slurm cluster that has jobs in question."""

    by_cluster: Mapping[str | None, Reading] = MappingProxyType({})

    @property
    def taken_s(self) -> float:
        """When a cluster was last asked; 0 if none was."""
        return max((one.taken_s for one in self.by_cluster.values()), default=0.0)

    @property
    def queue_s(self) -> float | None:
        """When the queue read longest ago was read; None if none was."""
        return min((one.queue_s for one in self.by_cluster.values() if one.queue_s is not None), default=None)

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(said for one in self.by_cluster.values() for said in one.missing)

    def about(self, known: StageState, planned: str | None) -> dict[str, SeenJob]:
        """A stage's jobs, each as the cluster that has it reports it; `planned` as in `StageState.slurm_cluster`.

        Another cluster may have a job with the same id.
        """
        if not self.by_cluster:
            return {}
        found = ((job, self.by_cluster.get(known.slurm_cluster(job, planned))) for job in known.all_jobs)
        return {job: reading.jobs[job] for job, reading in found if reading is not None and job in reading.jobs}


Ask = Callable[[Question], Reading]
