"""What happened, folded from the ledger's entries: the same whatever their order, and however often they arrive.

Each event is kept with its place in the ledger, and replaced only by a later one of its own attempt, so records may
come twice (a segment and its sources, an imported spool) or late. Within a writer the sequence decides; between
writers, causality: a higher attempt number follows a lower one. Wall clocks of different machines decide only between
equals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from detour.ledger.allocations import parts
from detour.ledger.events import (
    AttemptDiagnosed,
    AttemptEnded,
    AttemptStarted,
    ChainCancelled,
    ChainPlanned,
    ChainPriced,
    ChainSubmitted,
    CheckpointSaved,
    EnergyCounted,
    EnergyRead,
    Event,
    ForecastScored,
    Foreign,
    JobAccounted,
    JobIntended,
    JournalClosed,
    JournalOpened,
    JournalsCompacted,
    ProgressMade,
    SpeedMeasured,
    StageCancelled,
    StageDone,
    StageFailed,
    StageSubmitted,
)
from detour.ledger.process import Process
from detour.ledger.record import Entry
from detour.ledger.stages import AttemptState, StageState, StageStatus, WriterState, by_clock

__all__ = ["AttemptState", "StageState", "StageStatus", "State", "WriterState"]

CLOCKS_DIFFER_S = 3600.0
"""Upper bound on the difference between the clocks of the machines that wrote the ledger and of Slurm's accounts."""
SCORED = 100
"""Upper bound on jobs whose forecast's score is kept in memory; the journals have all of them."""


def speed_key(cluster: str, signature: str) -> str:
    """The key of trainings on this cluster whose times differ only by their tokens."""
    return f"{cluster} {signature}"


def run_key(run: JobAccounted) -> str:
    """The key of a run among all with its job id: when it started (`-` if it never had nodes), and on which cluster."""
    start = "-" if run.start_s is None else f"{run.start_s:.0f}"
    return f"{start} {run.cluster or ''}"


@dataclass(slots=True)
class State:
    """The folded ledger. `add` is idempotent and independent of the order of entries."""

    stages: dict[str, StageState] = field(default_factory=dict)
    writers: dict[str, WriterState] = field(default_factory=dict)
    submitted_s: dict[str, float] = field(default_factory=dict)
    """Chain -> when it was first submitted, in seconds since the epoch."""
    wanted_s: dict[str, float] = field(default_factory=dict)
    """Chain -> when it was last planned or submitted."""
    cancelled_s: dict[str, float] = field(default_factory=dict)
    """Chain -> when it was last cancelled as a whole."""
    wanted_by: dict[str, str] = field(default_factory=dict)
    """Chain -> the writer that last planned or submitted it."""
    expected_s: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Stage -> when it was last priced, and the expected wall time."""
    accounts: dict[str, dict[str, Entry[JobAccounted]]] = field(default_factory=dict)
    """Job -> its runs by the scheduler's accounts, by `run_key`."""
    jobs: dict[str, list[tuple[str, AttemptState]]] = field(default_factory=dict, compare=False, repr=False)
    """Job -> the attempts in it, with their stages."""
    speeds: dict[str, tuple[float, float]] = field(default_factory=dict)
    """`speed_key` -> when it was last benchmarked, and the tokens per second and GPU."""
    scores: dict[str, Entry[ForecastScored]] = field(default_factory=dict)
    """Slurm cluster and job -> the score of the first forecast of its start, for the jobs that started last."""
    first_sent_s: float | None = None
    """When the first job was about to be sent to Slurm, in seconds since the epoch."""
    records: int = 0
    """Number of distinct records folded."""
    damaged_sources: int = 0
    """Bad lines that were in journals when they were compacted."""

    @property
    def missing(self) -> int:
        """Number of records known to have been written and never seen."""
        return sum(writer.missing for writer in self.writers.values())

    @property
    def users(self) -> set[str]:
        """Names of the users who have written to the ledger."""
        return {writer.process.user for writer in self.writers.values() if writer.process}

    def user_of(self, writer: str | None) -> str | None:
        """The user whose process wrote this journal; None if it is not known."""
        known = self.writers.get(writer or "")
        return known.process.user if known and known.process else None

    @property
    def sent_since_s(self) -> float:
        """A time before any job was sent to Slurm, by any clock; 0 if none is known to have been."""
        return max((self.first_sent_s or 0.0) - CLOCKS_DIFFER_S, 0.0)

    def is_chain_cancelled(self, chain: str) -> bool:
        """Whether a person cancelled it as a whole and has not planned or submitted it since."""
        return self.cancelled_s.get(chain, 0.0) > self.wanted_s.get(chain, 0.0)

    def stage(self, stage_id: str) -> StageState:
        """What is known of a stage; an empty state if the ledger has nothing about it."""
        return self.stages.get(stage_id) or StageState(stage_id)

    def add(self, entries: Iterable[Entry[Any]]) -> set[str]:
        """Fold entries; returns the ids of stages that may have changed."""
        touched: set[str] = set()
        unsettled: set[str] = set()
        for entry in entries:
            name = entry[1]
            writer = self.writers.get(name)
            if writer is None:
                writer = self.writers[name] = WriterState()
            if writer.is_new(entry[0]):
                self.records += 1
                if type(entry.event) is Foreign:
                    continue
                kind = type(entry.event)
                if entry.job is not None and (kind is JobAccounted or entry.attempt is not None):
                    unsettled.add(entry.job)
                if kind is JobAccounted:
                    touched |= self._stages_in(entry.job)
                    self._add_account(entry)
                elif kind is ForecastScored:
                    self._add_score(entry)
                elif entry.stage is not None:
                    touched.add(entry.stage)
                    self._add_to_stage(entry.stage, entry)
                else:
                    self._add_other(writer, entry)
        for job in unsettled & self.accounts.keys():
            self.settle(job)
            touched |= self._stages_in(job)
        return touched

    def priced_s(self, stage_id: str) -> float | None:
        """The expected wall time at its last price."""
        priced = self.expected_s.get(stage_id)
        return priced[1] if priced else None

    def _stages_in(self, job: str | None) -> set[str]:
        """Ids of stages with an attempt in the job, or for which it ran by the scheduler's accounts."""
        runs = self.accounts.get(job or "", {}).values()
        return {stage for stage, _ in self.jobs.get(job or "", ())}.union(*(run.event.stages for run in runs))

    def settle(self, job: str) -> None:
        """Give each attempt in a job its part of the job's time, and runs without an attempt to the stage they had."""
        attempts = [one for one in self.jobs.get(job, ()) if one[1].started is not None]
        attempts.sort(key=lambda one: (one[1].started_s, one[0], one[1].number))
        runs = [entry.event for entry in self.accounts[job].values()]
        held, alone = parts(runs, [attempt.ran for _, attempt in attempts])
        for (_, attempt), part in zip(attempts, held, strict=True):
            attempt.held = part
        for run in runs:
            self._forget(job, run)
        for place, (run, part) in enumerate(alone, 1):
            if run.stages:
                self._stage(run.stages[0]).unattended[job, part.start_s] = AttemptState(-place, job, held=part)

    def _forget(self, job: str, run: JobAccounted) -> None:
        if run.start_s is not None and run.stages and (stage := self.stages.get(run.stages[0])) is not None:
            stage.unattended.pop((job, run.start_s), None)

    def _add_account(self, entry: Entry[JobAccounted]) -> None:
        if entry.job is None:
            return
        runs = self.accounts.setdefault(entry.job, {})
        key = run_key(entry.event)
        if key in runs:
            self._forget(entry.job, runs[key].event)
        _keep_later(runs, key, entry)

    def _add_score(self, entry: Entry[ForecastScored]) -> None:
        if entry.job is None or entry.event.of != "start":
            return
        key = f"{entry.event.slurm_cluster or ''} {entry.job}"
        if (known := self.scores.get(key)) is None or _made(entry) < _made(known):
            self.scores[key] = entry
        if len(self.scores) > SCORED:
            del self.scores[min(self.scores, key=lambda job: (self.scores[job].event.actual_s, job))]

    def _stage(self, stage_id: str) -> StageState:
        stage = self.stages.get(stage_id)
        if stage is None:
            stage = self.stages[stage_id] = StageState(stage_id)
        return stage

    def _add_other(self, writer: WriterState, entry: Entry[Any]) -> None:
        event = entry.event
        if isinstance(event, JournalOpened):
            writer.process = Process(event.host, event.pid, event.user, event.boot, event.start_ticks)
        elif isinstance(event, JournalClosed):
            writer.closed = True
        elif isinstance(event, JournalsCompacted):
            self.damaged_sources += event.bad_lines
        elif entry.chain is not None:
            self._add_to_chain(entry.chain, event, entry.wall_s, entry.writer)
        elif isinstance(event, ChainPriced):
            self._add_prices(event, entry.wall_s)
        elif isinstance(event, JobIntended):
            self.first_sent_s = min(entry.wall_s, self.first_sent_s or entry.wall_s)
        elif isinstance(event, SpeedMeasured):
            key, measured = speed_key(event.cluster, event.signature), (entry.wall_s, event.tokens_per_s)
            self.speeds[key] = max(measured, self.speeds.get(key, (0.0, 0.0)))

    def _add_prices(self, event: ChainPriced, at_s: float) -> None:
        for price in event.prices:
            if wall_s := price["wall_s"]:
                for stage_id in price["stages"]:
                    self.expected_s[stage_id] = max((at_s, float(wall_s[1])), self.expected_s.get(stage_id, (0.0, 0.0)))

    def _add_to_chain(self, chain: str, event: Event, at_s: float, writer: str) -> None:
        if isinstance(event, ChainSubmitted):
            self.submitted_s[chain] = min(at_s, self.submitted_s.get(chain, at_s))
        if isinstance(event, ChainSubmitted | ChainPlanned):
            latest = max((at_s, writer), (self.wanted_s.get(chain, 0.0), self.wanted_by.get(chain, "")))
            self.wanted_s[chain], self.wanted_by[chain] = latest
        elif isinstance(event, ChainCancelled) and event.whole:
            self.cancelled_s[chain] = max(at_s, self.cancelled_s.get(chain, at_s))

    def _add_to_stage(self, stage_id: str, entry: Entry[Any]) -> None:
        stage = self._stage(stage_id)
        if entry.attempt is not None:
            self._add_to_attempt(stage, entry.attempt, entry)
        kind = type(entry.event)
        if kind is StageDone:
            _keep_last(stage.done, entry.attempt or 0, entry)
        elif kind is StageFailed:
            _keep_last(stage.failed, entry.attempt or 0, entry)
        elif kind is StageSubmitted and entry.job is not None:
            stage.submitted_s[entry.job] = min(entry.wall_s, stage.submitted_s.get(entry.job, entry.wall_s))
            if (cluster := entry.event.slurm_cluster) is not None:
                stage.slurm_clusters[entry.job] = max(cluster, stage.slurm_clusters.get(entry.job, ""))
        elif kind is StageCancelled and entry.job is not None:
            stage.cancelled_jobs.add(entry.job)

    def _add_to_attempt(self, stage: StageState, number: int, entry: Entry[Any]) -> None:
        key = (number, entry.job or "")
        attempt = stage.attempts_by_key.get(key)
        if attempt is None:
            attempt = stage.attempts_by_key[key] = AttemptState(number, entry.job)
            if entry.job is not None:
                self.jobs.setdefault(entry.job, []).append((stage.id, attempt))
        _add_to_attempt(attempt, entry)


def _add_to_attempt(attempt: AttemptState, entry: Entry[Any]) -> None:
    _, writer, wall_s, mono_s, event, *_ = entry
    if type(event) is AttemptDiagnosed:  # may be by the next attempt: not a sign of life of this one
        attempt.diagnosed = entry if attempt.diagnosed is None else max(attempt.diagnosed, entry)
        return
    seen = attempt.seen.get(writer)
    if seen is None or (mono_s >= seen[0] and wall_s >= seen[1]):
        attempt.seen[writer] = (mono_s, wall_s)
    else:
        attempt.seen[writer] = (max(mono_s, seen[0]), max(wall_s, seen[1]))
    kind = type(event)
    if kind is ProgressMade:
        if attempt.progress is None or entry > attempt.progress:
            attempt.progress = entry
        if attempt.first_progress is None or entry < attempt.first_progress:
            attempt.first_progress = entry
    elif kind is EnergyCounted:
        _keep_later(attempt.energy, writer, entry)
    elif kind is EnergyRead:
        _keep_later(attempt.readings, f"{wall_s // 3600:.0f}@{writer}", entry)
    elif kind is CheckpointSaved:
        attempt.checkpoint = entry if attempt.checkpoint is None else max(attempt.checkpoint, entry)
    elif kind is AttemptStarted:
        attempt.started = entry if attempt.started is None else min(attempt.started, entry)
    elif kind is AttemptEnded:
        attempt.ended = entry if attempt.ended is None else max(attempt.ended, entry)


def _made(scored: Entry[ForecastScored]) -> tuple[float, Entry[ForecastScored]]:
    """Orders scores by when their forecasts were made."""
    return scored.event.made_s, scored


def _keep_later(kept: dict[Any, Entry[Any]], key: Any, entry: Entry[Any]) -> None:
    if key not in kept or entry > kept[key]:
        kept[key] = entry


def _keep_last(kept: dict[int, Entry[Any]], number: int, entry: Entry[Any]) -> None:
    if number not in kept or by_clock(entry) > by_clock(kept[number]):
        kept[number] = entry
