"""What Slurm reports about jobs that the ledger has as open, asked at most once per interval for all viewers.

All viewers of a user on one node share the last reading, in a private file there; between readings only the ledger
shows what is new. What Slurm does not report stays unknown, and the reading says what is missing. While the queue
cannot be read, jobs stay as last seen, each with the time of that. How a job ended is asked once an hour, because a
person may requeue it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from detour.ledger.cache import made_of, private_path
from detour.ledger.identity import workspace_id
from detour.ledger.private import keep_private, read_private
from detour.ledger.workspace import Workspace
from detour.monitoring.queries import Question, Reading, SeenJob
from detour.scheduler.client_environment import site_variables
from detour.scheduler.commands import Slurm
from detour.scheduler.job_ids import is_job_id, parse_job_ids
from detour.scheduler.records import JobRecord
from detour.scheduler.snapshot import QUEUE_UNKNOWN, Snapshot, add_accounting, take_snapshot
from detour.scheduler.states import JobState, Standing
from detour.text import format_duration

PATIENCE_S = 10.0
"""Seconds to wait for an unreachable controller: less than when submitting."""
ENDED_S = 3600.0
"""Seconds after which sacct is asked again how a job ended."""
_OPEN = (Standing.WAITING.value, Standing.RUNNING.value, Standing.UNKNOWN.value)


class _Kept(NamedTuple):
    asked: frozenset[str]
    reading: Reading


def read_jobs(workspace: Workspace, question: Question, slurm: Slurm | None = None) -> Reading:
    """The last reading, if it is recent enough and covers all these jobs; otherwise a new one.

    A new one takes a squeue, and a sacct only if jobs have left the queue or are pending again and their end is
    unknown. Ids that are not Slurm's are skipped.
    """
    question = question._replace(jobs=list(filter(is_job_id, question.jobs)))
    kept = _kept(workspace, question)
    is_young = kept is not None and 0 <= time.time() - kept.reading.taken_s < question.every_s
    if kept is not None and is_young and kept.asked.issuperset(question.jobs):
        return kept.reading
    client = (slurm or Slurm(timeout_s=PATIENCE_S)).on(question.slurm_cluster)
    reading = _ask(workspace_id(workspace.root), question, client, kept.reading if kept else None)
    _keep(workspace, question, reading)
    return reading


def _ask(workspace: str, question: Question, slurm: Slurm, last: Reading | None) -> Reading:
    snapshot = take_snapshot(slurm, question.users)
    seen = last.jobs if last else {}
    if snapshot.queue is None:
        return _as_last_seen(snapshot, last)
    queued = {job for job in question.jobs if snapshot.job(workspace, job) is not None}
    ended = {job for job in seen.keys() - queued if seen[job].standing not in _OPEN}
    known = {job for job in ended if 0 <= snapshot.taken_s - seen[job].seen_s < ENDED_S}
    again = {job for job in question.tried & queued if _waits(snapshot, workspace, job) and not _before(seen, job)}
    if asked := [job for job in question.jobs if job in again or job not in queued | known]:
        snapshot = add_accounting(snapshot, slurm, question.users, asked, question.since_s)
    jobs, untagged = {}, snapshot.rewrites_tags(question.jobs)
    for job in question.jobs:
        record = snapshot.job(workspace, job, untagged=untagged)
        if record is not None:
            before = _earlier_end(snapshot, job) or _before(seen, job)
            jobs[job] = _seen(job, record, before, snapshot.taken_s)
        elif job in ended:
            jobs[job] = seen[job]
        else:
            unknown = JobState.UNKNOWN
            jobs[job] = SeenJob(job, unknown.value, unknown.standing.value, seen_s=snapshot.taken_s, has_left=True)
    return Reading(snapshot.taken_s, jobs, snapshot.missing, snapshot.taken_s)


def _as_last_seen(snapshot: Snapshot, last: Reading | None) -> Reading:
    """What was last known, with its age, because the queue cannot be read."""
    missing = snapshot.missing
    if last is None or last.queue_s is None:
        return Reading(snapshot.taken_s, {}, missing)
    if any(job.standing in _OPEN for job in last.jobs.values()):
        shown = f"jobs are shown as the queue was {format_duration(snapshot.taken_s - last.queue_s)} ago"
        missing = tuple(one.replace(QUEUE_UNKNOWN, shown) for one in missing)
    return Reading(snapshot.taken_s, last.jobs, missing, last.queue_s)


def _waits(snapshot: Snapshot, workspace: str, job: str) -> bool:
    record = snapshot.job(workspace, job)
    return record is not None and record.state.standing is Standing.WAITING


def _before(seen: Mapping[str, SeenJob], job: str) -> str:
    return seen[job].before if job in seen else ""


def _earlier_end(snapshot: Snapshot, job: str) -> str:
    """How the last ended run of this job ended, by the accounts."""
    ids = parse_job_ids(job)
    ended = [
        record
        for record in snapshot.accounting or ()
        if record.ids.id == ids.id and record.ids.holds(ids.index) and record.ended_s and not record.state.is_live
    ]
    return max(ended, key=lambda record: record.ended_s or 0.0).state.value if ended else ""


def _seen(job: str, record: JobRecord, before: str, at_s: float) -> SeenJob:
    waits = record.state is JobState.PENDING
    return SeenJob(
        job,
        record.state.value,
        record.state.standing.value,
        f"held by Slurm ({record.by_slurm})" if record.by_slurm else record.reason,
        starts_s=record.started_s if waits and not record.is_held else None,
        is_held=record.is_held,
        started_s=None if waits else record.started_s,
        ended_s=None if record.state.is_live else record.ended_s,
        nodes=record.nodes,
        exit_code=record.exit_code,
        signal=record.signal,
        before=before if record.state.is_live else "",
        seen_s=at_s,
    )


def _keep(workspace: Workspace, question: Question, reading: Reading) -> None:
    with suppress(OSError):
        content = {
            "made_of": _made_of(workspace, question),
            "asked": list(question.jobs),
            **reading._asdict(),
            "jobs": [tuple(job) for job in reading.jobs.values()],
        }
        keep_private(_path(workspace, question), orjson.dumps(content))


def _kept(workspace: Workspace, question: Question) -> _Kept | None:
    """None also at the slightest doubt about the file."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = orjson.loads(read_private(_path(workspace, question)))
        if data["made_of"] == _made_of(workspace, question):
            jobs = {one[0]: SeenJob(*one) for one in data["jobs"]}
            reading = Reading(data["taken_s"], jobs, tuple(data["missing"]), data["queue_s"])
            return _Kept(frozenset(data["asked"]), reading)
    return None


def _path(workspace: Workspace, question: Question) -> str:
    """One file per Slurm cluster, so that viewers of chains on different clusters do not make each other ask."""
    return private_path(workspace, "jobs", question.slurm_cluster)


def _made_of(workspace: Workspace, question: Question) -> list[Any]:
    whom = [workspace_id(workspace.root), question.slurm_cluster, sorted(question.users)]
    return made_of(workspace, *whom, site_variables())
