"""What is known about stages, attempts and writers: parts of the folded state, and what can be derived from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

from detour.errors import Interrupted, NotReady
from detour.ledger.allocations import AttemptSpan, Held
from detour.ledger.events import (
    AttemptDiagnosed,
    AttemptEnded,
    AttemptStarted,
    CheckpointSaved,
    EnergyCounted,
    EnergyRead,
    ProgressMade,
    StageDone,
    StageFailed,
)
from detour.ledger.executor_ids import process_in
from detour.ledger.process import Process
from detour.ledger.record import Entry

LOCAL_CLUSTER = "local"
"""The cluster of an attempt without Slurm, unless it was given a profile."""
StageStatus = Literal["planned", "submitted", "running", "interrupted", "done", "failed", "cancelled", "unknown"]
_OUTCOMES: dict[str | None, StageStatus] = {
    "done": "done",
    "already-done": "done",
    "interrupted": "interrupted",
    "not-ready": "interrupted",
    "failed": "failed",
    "refused": "failed",
}
OUT_OF_TIME = ("signal SIGUSR2", "wall-time limit")
"""Reasons to stop at a time limit: what the batch script asks Slurm to send, and a timer where there is no Slurm."""
_BY_EXIT_CODE: dict[int | None, StageStatus] = {
    0: "done",
    Interrupted.exit_code: "interrupted",
    NotReady.exit_code: "interrupted",
}


def slurm_cluster_of(recorded: str | None, planned: str | None) -> str | None:
    """The Slurm cluster that has a job, as in a profile: as `recorded` when it was sent.

    For a job of an earlier version, which recorded none, the cluster for which its chain is now `planned`.
    """
    return planned if recorded is None else recorded or None


def may_be_on(cluster: str | None, recorded: str | None) -> bool:
    """Whether a job may be on a Slurm cluster: it was sent there, or it is not `recorded` to which one."""
    return recorded in (None, cluster or "")


def is_out_of_time(reason: str | None) -> bool:
    """Whether an attempt stopped because its time was over; any other stop makes room for another job."""
    return any(known in (reason or "") for known in OUT_OF_TIME)


def by_clock(entry: Entry[Any]) -> tuple[float, Entry[Any]]:
    """Orders what different runs of a stage recorded: numbers of attempts begin again after its folder was removed."""
    return entry.wall_s, entry


@dataclass(slots=True)
class WriterState:
    process: Process | None = None
    closed: bool = False
    next: int = 0
    """Every sequence number below it has been seen."""
    ahead: set[int] = field(default_factory=set)
    """Sequence numbers seen beyond a gap."""

    @property
    def missing(self) -> int:
        return max(self.ahead) + 1 - self.next - len(self.ahead) if self.ahead else 0

    def is_new(self, sequence: int) -> bool:
        """Whether this sequence number is seen for the first time; remembers it."""
        if sequence == self.next:
            self.next += 1
            while self.ahead and self.next in self.ahead:
                self.ahead.remove(self.next)
                self.next += 1
            return True
        if sequence < self.next or sequence in self.ahead:
            return False
        self.ahead.add(sequence)
        return True


@dataclass(slots=True)
class AttemptState:
    number: int
    executor: str | None
    """The job or process that it ran in (`executor_ids`); None for one started by hand."""
    started: Entry[AttemptStarted] | None = None
    ended: Entry[AttemptEnded] | None = None
    diagnosed: Entry[AttemptDiagnosed] | None = None
    first_progress: Entry[ProgressMade] | None = None
    progress: Entry[ProgressMade] | None = None
    checkpoint: Entry[CheckpointSaved] | None = None
    energy: dict[str, Entry[EnergyCounted]] = field(default_factory=dict)
    """Writer (one per node) -> its last cumulative figures."""
    readings: dict[str, Entry[EnergyRead]] = field(default_factory=dict)
    """`HOUR@WRITER` -> the last reading of that hour and writer (one per node): enough for sums and hourly factors."""
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Writer -> the last monotonic and the last wall-clock second of a sign of life."""
    held: Held | None = None
    """Its part of the job's allocation, once the scheduler's accounts were read; derived from `State.accounts`."""

    @property
    def job(self) -> str | None:
        """The job in Slurm; None if it ran without."""
        return None if self.process is not None else self.executor

    @property
    def process(self) -> str | None:
        """The process of `detour run` that it ran in; earlier versions did not mark these."""
        if self.cluster == LOCAL_CLUSTER and self.executor and self.executor.isdecimal():
            return self.executor
        return process_in(self.executor)

    @property
    def cluster(self) -> str | None:
        """Name of the profile it ran under."""
        if self.started is not None:
            return self.started.event.cluster
        return self.held.run.profile if self.held else None

    @property
    def outcome(self) -> StageStatus | None:
        """None while no end is recorded."""
        if self.ended is None:
            return None
        return _OUTCOMES.get(self.ended.event.outcome) or _BY_EXIT_CODE.get(self.exit_code, "failed")

    @property
    def exit_code(self) -> int | None:
        return self.ended.event.exit_code if self.ended else None

    @property
    def reason(self) -> str | None:
        return self.ended.event.reason if self.ended else None

    @property
    def started_s(self) -> float | None:
        return self.started.wall_s if self.started else None

    @property
    def ran(self) -> AttemptSpan:
        start_s = self.started_s or 0.0
        lasted_s = self.ended.event.elapsed_s if self.ended else None
        if lasted_s is None:
            lasted_s = self.elapsed_s or 0.0
        return AttemptSpan(start_s, start_s + lasted_s, self.started.stage if self.started else None)

    @property
    def last_seen_s(self) -> float | None:
        """Wall-clock time of the last sign of life from any of its writers."""
        if len(self.seen) == 1:
            ((_, wall_s),) = self.seen.values()
            return wall_s
        return max((wall_s for _, wall_s in self.seen.values()), default=None)

    @property
    def elapsed_s(self) -> float | None:
        """From the start to the last sign of life, by the writer's own monotonic clock."""
        if self.started is None:
            return None
        return max(self.seen[self.started.writer][0] - self.started.mono_s, 0.0)


@dataclass(slots=True)
class StageState:
    id: str
    attempts_by_key: dict[tuple[int, str], AttemptState] = field(default_factory=dict)
    done: dict[int, Entry[StageDone]] = field(default_factory=dict)
    failed: dict[int, Entry[StageFailed]] = field(default_factory=dict)
    """Attempt number -> the event that ended the stage for good."""
    submitted_s: dict[str, float] = field(default_factory=dict)
    """Job -> when it was submitted, in seconds since the epoch."""
    slurm_clusters: dict[str, str] = field(default_factory=dict)
    """Job -> the Slurm cluster it was sent to, as in `JobIntended`, if that is recorded."""
    cancelled_jobs: set[str] = field(default_factory=set)
    """Also processes of `detour run`."""
    unattended: dict[tuple[str, float], AttemptState] = field(default_factory=dict)
    """Job and start -> a run in which no attempt recorded anything: killed before, or by a broken node.

    Their attempt numbers are negative.
    """

    @property
    def runs(self) -> list[AttemptState]:
        """Everything that held an allocation for it: its attempts, and runs of its jobs without an attempt."""
        if not self.unattended:
            return self.attempts
        return [*self.attempts, *(self.unattended[key] for key in sorted(self.unattended))]

    @property
    def attempts(self) -> list[AttemptState]:
        """In order of their numbers, which begin again after the stage's folder was removed."""
        attempts = list(self.attempts_by_key.values())
        if len(attempts) < 2:
            return attempts
        done_s = self.ended_s or inf
        return sorted(
            attempts,
            key=lambda one: ((at_s := one.started_s or 0.0) > done_s, one.number, at_s, one.executor or ""),
        )

    @property
    def last_attempt(self) -> AttemptState | None:
        """None before the first."""
        return self.attempts[-1] if self.attempts_by_key else None

    def since_done(self) -> StageState:
        """Only what began after it was last done, which is all that counts once its output has been removed."""
        if (done_s := self.ended_s) is None:
            return self
        attempts = {key: one for key, one in self.attempts_by_key.items() if (one.started_s or 0.0) > done_s}
        submitted_s = {job: at_s for job, at_s in self.submitted_s.items() if at_s > done_s}
        return StageState(
            self.id,
            attempts,
            failed={number: entry for number, entry in self.failed.items() if entry.wall_s > done_s},
            submitted_s=submitted_s,
            slurm_clusters=self.slurm_clusters,
            cancelled_jobs=self.cancelled_jobs & {*submitted_s, *(executor for _, executor in attempts)},
        )

    @property
    def jobs(self) -> set[str]:
        """Jobs submitted and not withdrawn."""
        return self.submitted_s.keys() - self.cancelled_jobs

    @property
    def all_jobs(self) -> set[str]:
        """Jobs that the stage was or is in, even if no submission of them is recorded."""
        return self.jobs.union(attempt.job for attempt in self.attempts_by_key.values() if attempt.job)

    @property
    def executors(self) -> set[str]:
        """As `all_jobs`, with processes of `detour run`; cancelled ones if there are no others."""
        return self.jobs.union(executor for _, executor in self.attempts_by_key if executor) or self.cancelled_jobs

    def slurm_cluster(self, job: str | None, planned: str | None) -> str | None:
        """The Slurm cluster that has one of the stage's jobs; see `slurm_cluster_of`."""
        return slurm_cluster_of(self.slurm_clusters.get(job or ""), planned)

    def last_slurm_cluster(self, planned: str | None) -> str | None:
        """The Slurm cluster that has the job submitted last; `planned` before the first."""
        return self.slurm_cluster(max(self.submitted_s, key=self.submitted_s.__getitem__, default=None), planned)

    @property
    def is_cancelled(self) -> bool:
        """Whether a person cancelled the last job that tried it, or was to try it first, and it has no other."""
        if not self.cancelled_jobs or self.jobs or self.status in ("done", "failed"):
            return False
        last = self.last_attempt
        return last is None or last.executor in self.cancelled_jobs

    @property
    def is_open(self) -> bool:
        """Whether a job may still change it, by the ledger: it is neither done nor failed permanently.

        After a permanent failure only the missing marker shows that it was submitted again, since the clocks of the
        node where it failed and of the machine that submitted it may differ.
        """
        if self.done and not self._has_begun_again():
            return False
        current = self.since_done()
        return current.status != "done" and current.failure is None

    def _has_begun_again(self) -> bool:
        """Whether `since_done` is not empty; quick, since most stages of a large workspace are done."""
        began_s = [one.started.wall_s for one in self.attempts_by_key.values() if one.started is not None]
        began_s += self.submitted_s.values()
        return bool(began_s) and max(began_s) > max([entry.wall_s for entry in self.done.values()])

    @property
    def progress(self) -> ProgressMade | None:
        """Progress of the latest attempt that recorded any."""
        reached = [attempt.progress for attempt in self.attempts if attempt.progress]
        return reached[-1].event if reached else None

    @property
    def ended_s(self) -> float | None:
        """When it was done; None if it is not."""
        return max(entry.wall_s for entry in self.done.values()) if self.done else None

    @property
    def released_s(self) -> float | None:
        """When its dependents could start: the end of its job by the scheduler's accounts, whose clock also says when
        they did, or else when it was done by its node's. None if it is not done.
        """
        if not self.done:
            return None
        done = max(self.done.values(), key=by_clock)
        attempt = self.attempts_by_key.get((done.attempt or 0, done.job or ""))
        return done.wall_s if attempt is None or attempt.held is None else attempt.held.end_s

    @property
    def result(self) -> Any:
        """What the stage returned; None if it is not done or returned nothing."""
        return max(self.done.values(), key=by_clock).event.result if self.done else None

    @property
    def failure(self) -> Entry[StageFailed] | None:
        """The event that ended it permanently; None if it has been tried again since."""
        current = self.since_done()
        number, last = max(current.failed, default=None), current.last_attempt
        return None if number is None or (last and last.number > number) else current.failed[number]

    @property
    def reason(self) -> str | None:
        """Why it failed or stopped, in its own words."""
        if (failure := self.failure) is not None:
            return failure.event.reason
        return self.last_attempt.reason if self.last_attempt else None

    @property
    def diagnosed(self) -> AttemptDiagnosed | None:
        """The verdict on the last attempt; None if there is none or none is needed."""
        last = self.last_attempt
        return last.diagnosed.event if last and last.diagnosed else None

    @property
    def status(self) -> StageStatus:
        """The status by the ledger only. A missing end reads as `running`; a caller that knows more decides."""
        attempts = self.attempts
        if self.done or any(attempt.outcome == "done" for attempt in attempts):
            return "done"
        if self.failure is not None:
            return "failed"
        if attempts:
            return attempts[-1].outcome or "running"
        return "submitted" if self.jobs else "planned"
