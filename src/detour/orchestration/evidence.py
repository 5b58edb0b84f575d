"""The evidence `detour.diagnosis` judges for a stage's last job: Slurm's rows, the end of its logs, its events.

What cannot be read is recorded as unreadable, with the reason; it is never taken for empty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detour.diagnosis.evidence import Evidence, LedgerEvent, SlurmRow
from detour.ledger.events import (
    AttemptEnded,
    AttemptHeartbeat,
    EnergyCounted,
    JournalClosed,
    JournalOpened,
    StageDone,
    StageFailed,
)
from detour.ledger.reading import LedgerReader
from detour.ledger.record import Entry
from detour.ledger.stages import AttemptState, StageState
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import failure_reason
from detour.orchestration.log_files import log_files, log_lines
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import QUEUE_FIELDS, REPORT_FIELDS, SEPARATOR, Slurm
from detour.scheduler.job_ids import is_job_id, parse_job_ids
from detour.scheduler.records import parse_time_s
from detour.text import natural_key

EVENTS = 200
QUEUED_S = 60 * 86_400.0
"""Longer than any job waits before its first event, in seconds."""
QUEUE_NAMES = {
    "job": "JobID",
    "state": "State",
    "reason": "Reason",
    "dependency": "Dependency",
    "submitted": "SubmitTime",
    "started": "StartTime",
    "partition": "Partition",
    "nodes": "NodeList",
    "priority": "Priority",
}
"""squeue's fields under the names used in a bundle. Names and comments are left out because they are free text."""
NOT_STARTED = ("PENDING", "CONFIGURING")
DONE = ("done", "already-done")
"""Outcomes of attempts at a stage that is done."""
ROUTINE_EVENTS = (AttemptHeartbeat.kind, EnergyCounted.kind, JournalOpened.kind, JournalClosed.kind)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one squeue and one sacct report about the jobs of several stages."""

    queue: tuple[SlurmRow, ...] = ()
    """All jobs of the workspace's users in the queue."""
    scripts: Mapping[str, Path] = field(default_factory=dict)
    """Job in `queue` -> its batch script."""
    accounts: tuple[SlurmRow, ...] | None = None
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageEvidence:
    """The evidence of one stage, with the queue in which to find the job that blocks it."""

    stage: str
    job: str | None
    evidence: Evidence
    queue: tuple[SlurmRow, ...] = ()
    scripts: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageEvents:
    """The events of several stages, from one pass over the ledger."""

    of_stage: Mapping[str, tuple[LedgerEvent, ...]]
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def since_s(self) -> float:
        """A time before any of their jobs was submitted, as far as the events show: a job may have waited for weeks."""
        walls_s = (event.wall_s for events in self.of_stage.values() for event in events if event.wall_s)
        return max(min(walls_s, default=0.0) - QUEUED_S, 0.0)


def stage_events(workspace: Workspace, stages: Collection[str]) -> StageEvents:
    reader = LedgerReader(workspace, stages=stages)
    entries: dict[str, list[Entry[Any]]] = {stage: [] for stage in stages}
    for batch in reader.read_new():
        for entry in batch:
            if entry.stage in entries and getattr(type(entry.event), "kind", None) not in (None, *ROUTINE_EVENTS):
                entries[entry.stage].append(entry)
    unread = reader.damage.unreadable
    return StageEvents(
        {stage: _last_events(workspace, stage, found) for stage, found in entries.items()},
        {"events": f"not all journals could be read: {unread[0]}"} if unread else {},
    )


def slurm_jobs(known: StageState) -> list[str]:
    """Jobs of a stage that Slurm may know; if it last ran on this machine, those submitted since."""
    jobs = known.all_jobs or set(filter(is_job_id, known.cancelled_jobs))
    last = known.last_attempt
    if last is not None and last.process is not None:
        jobs = {job for job in jobs if known.submitted_s.get(job, 0.0) > (last.started_s or 0.0)}
    return sorted(jobs, key=natural_key)


def ask_slurm(slurm: Slurm, users: Sequence[str], jobs: Sequence[str], since_s: float) -> Answers:
    unreadable: dict[str, str] = {}
    queue, scripts = queue_rows(slurm, users, unreadable)
    accounts = job_rows(slurm, [*jobs, *_pending_arrays(queue, jobs)], since_s, unreadable)
    of_which = "" if slurm.cluster is None else f"{slurm.cluster}: "
    return Answers(queue, scripts, accounts, {client: f"{of_which}{why}" for client, why in unreadable.items()})


def _pending_arrays(queue: Sequence[SlurmRow], jobs: Sequence[str]) -> list[str]:
    """The arrays of pending tasks: sacct has one row for all of these, and finds it only by the array's id."""
    pending = [row for row in queue if row.get("State") == "PENDING"]
    return sorted({parse_job_ids(job).id for job in jobs if "_" in job and any(is_row_of(row, job) for row in pending)})


def stage_evidence(
    workspace: Workspace,
    stage: str,
    known: StageState,
    jobs: Sequence[str],
    events: StageEvents,
    answers: Answers,
) -> StageEvidence:
    """The evidence of one stage, of which the Slurm cluster with these `answers` has these `jobs`.

    Only ledger and logs if it ran on this machine.
    """
    if not jobs:
        answers = Answers()
    unreadable = {**events.unreadable, **answers.unreadable}
    queued, row = next(((job, row) for job in jobs for row in answers.queue if is_row_of(row, job)), (None, None))
    rows = (
        None
        if answers.accounts is None
        else [row for row in answers.accounts if any(_is_about(row, job) for job in jobs)]
    )
    ran = next((one for one in reversed(known.attempts) if one.executor), None)
    executor = queued or _last_started(rows or ()) or (ran.executor if ran else next(iter(jobs), None))
    begun = ran if ran is not None and ran.executor == executor else None
    job = begun.job if begun else executor
    sacct = None if rows is None else tuple(row for row in rows if job is not None and _is_about(row, job))
    is_waiting = begun is None and row is not None and row.get("State") in NOT_STARTED
    log = () if is_waiting else _log(workspace, stage, executor, unreadable)
    evidence = Evidence(sacct, row, log, events.of_stage[stage], unreadable, job)
    return StageEvidence(stage, job, evidence, answers.queue, answers.scripts)


def attempt_evidence(
    workspace: Workspace, stage: str, ran: AttemptState, events: StageEvents, answers: Answers
) -> Evidence:
    """The evidence of an earlier attempt of a stage."""
    job, unreadable = ran.job, {**events.unreadable, **answers.unreadable}
    rows = None if answers.accounts is None or job is None else tuple(r for r in answers.accounts if _is_about(r, job))
    log = _log(workspace, stage, ran.executor, unreadable)
    return Evidence(rows, None, log, events.of_stage[stage], unreadable, job)


def _is_about(row: SlurmRow, job: str) -> bool:
    """Whether the row describes this job or one of its steps."""
    return row.id.partition(".")[0] == job or is_row_of(row, job)


def is_row_of(row: SlurmRow, job: str) -> bool:
    """Whether the row describes this job, or an array's pending tasks of which this is one."""
    try:
        asked, shown = parse_job_ids(job), parse_job_ids(row.id)
    except ValueError:
        return False
    return asked.id == shown.id and shown.holds(asked.index)


def _last_started(rows: Sequence[SlurmRow]) -> str | None:
    """The job that started last. A stage's later segments may have been cancelled before they started."""
    starts = [(parse_time_s(row.get("Start")), row.id) for row in rows if row.step is None]
    return max(((at_s, job) for at_s, job in starts if at_s is not None), default=(0.0, None))[1]


def _last_events(workspace: Workspace, stage: str, entries: list[Entry[Any]]) -> tuple[LedgerEvent, ...]:
    if not workspace.is_done(stage):  # if it once was, its output has been removed: only what came since counts
        done_s = max((entry.wall_s for entry in entries if _says_done(entry)), default=0.0)
        entries = [entry for entry in entries if entry.wall_s > done_s]
    entries.sort(key=lambda entry: (entry.attempt or 0, entry.wall_s, entry.sequence))
    found = [LedgerEvent(one.event.kind, one.wall_s, one.attempt, one.event.to_json()) for one in entries[-EVENTS:]]
    return (*found, *_marked_failure(workspace, stage, found))


def _says_done(entry: Entry[Any]) -> bool:
    event = entry.event
    return isinstance(event, StageDone) or (isinstance(event, AttemptEnded) and event.outcome in DONE)


def _marked_failure(workspace: Workspace, stage: str, events: Sequence[LedgerEvent]) -> Iterator[LedgerEvent]:
    """The failure in the stage's marker if no event records it: a full disk may have lost the event."""
    if not any(event.kind == StageFailed.kind for event in events) and workspace.failure(stage).exists():
        yield LedgerEvent(StageFailed.kind, data={"reason": failure_reason(workspace, stage)})


def queue_rows(
    slurm: Slurm, users: Sequence[str], unreadable: dict[str, str]
) -> tuple[tuple[SlurmRow, ...], dict[str, Path]]:
    """All jobs of these users in the queue, and the batch script of each if squeue reports one."""
    rows = _rows(slurm.queue(users), "squeue", tuple(QUEUE_FIELDS), unreadable) or []
    named = tuple(SlurmRow({QUEUE_NAMES[key]: row[key] for key in QUEUE_NAMES}) for row in rows)
    return named, {row["job"]: Path(row["script"]) for row in rows if row["script"].startswith("/")}


def job_rows(
    slurm: Slurm, jobs: Sequence[str], since_s: float, unreadable: dict[str, str]
) -> tuple[SlurmRow, ...] | None:
    """sacct's rows of these jobs and their steps; None if sacct gives none, with the reason in `unreadable`."""
    rows = _rows(slurm.job_report(jobs, since_s), "sacct", REPORT_FIELDS, unreadable)
    return None if rows is None else tuple(SlurmRow(row) for row in rows)


def _rows(
    result: CommandResult, name: str, fields: Sequence[str], unreadable: dict[str, str]
) -> list[dict[str, str]] | None:
    lines = result.stdout.splitlines()
    if result.returncode != 0 or not lines or lines[0].count(SEPARATOR) != len(fields) - 1:
        unreadable[name] = result.message if result.returncode != 0 else "its answer has no header"
        return None
    split = (line.split(SEPARATOR, len(fields) - 1) for line in lines[1:])
    return [dict(zip(fields, cells, strict=True)) for cells in split if len(cells) == len(fields)]


def _log(workspace: Workspace, stage: str, executor: str | None, unreadable: dict[str, str]) -> tuple[str, ...] | None:
    """The logs of all ranks, ending with rank 0's, which Slurm writes to as well."""
    unread: list[str] = []
    if not list(log_files(workspace, stage, executor, unread)):
        nothing = "its log is not there" if executor else "no job has run"
        unreadable["log_tail"] = unread[0] if unread else nothing
        return None
    problems: list[str] = []
    lines = log_lines(workspace, stage, executor, problems=problems)
    if problems:
        unreadable["log_tail"] = problems[0]
    return None if problems and not lines else tuple(lines)
