"""What Slurm says of the jobs that the ledger holds to be open: asked at most once an interval, for all viewers.

All viewers of a user on one node share the last reading, kept in a private file there; between two readings the ledger
alone says what is new. What Slurm does not say stays unknown, and the reading says what is missing.
"""

from __future__ import annotations

import time
from contextlib import suppress

import orjson

from detour.ledger.cache import keep_private, private_path
from detour.ledger.identity import workspace_id
from detour.ledger.workspace import Workspace
from detour.monitoring.seen import Question, Reading, SeenJob
from detour.scheduler.commands import Slurm
from detour.scheduler.records import JobRecord
from detour.scheduler.snapshot import add_accounting, take_snapshot
from detour.scheduler.states import JobState

FORMAT = 2
PATIENCE_S = 10.0
"""Who only looks does not wait as long for a controller that is down as who submits."""
LATE_S = 3600.0
"""Clocks of login node and accounts may differ by less."""


def read_jobs(workspace: Workspace, question: Question, slurm: Slurm | None = None) -> Reading:
    """The last reading, if it is young enough and knew of all these jobs; else a new one: a squeue, and a sacct only if
    some of them have left the queue.
    """
    kept = _kept(workspace, question)
    if kept is not None:
        return kept
    reading = _ask(
        workspace_id(workspace.root), question, slurm or Slurm(timeout_s=PATIENCE_S, cluster=question.slurm_cluster)
    )
    _keep(workspace, question, reading)
    return reading


def _ask(workspace: str, question: Question, slurm: Slurm) -> Reading:
    snapshot = take_snapshot(slurm, question.users)
    if snapshot.queue is not None:
        gone = [job for job in question.jobs if snapshot.job(workspace, job) is None]
        if gone:
            snapshot = add_accounting(snapshot, slurm, question.users, gone, question.since_s - LATE_S)
    jobs, untagged = {}, snapshot.rewrites_tags(question.jobs)
    for job in question.jobs:
        record = snapshot.job(workspace, job, untagged=untagged)
        if record is not None:
            starts_s = record.started_s if record.state is JobState.PENDING else None
            jobs[job] = SeenJob(job, record.state.value, record.state.standing.value, _why(record), starts_s)
    return Reading(snapshot.taken_s, jobs, snapshot.missing)


def _why(record: JobRecord) -> str:
    """Why it waits, in Slurm's words."""
    return f"held by Slurm ({record.reason}), `detour release` frees it" if record.by_slurm else record.reason


def _keep(workspace: Workspace, question: Question, reading: Reading) -> None:
    content = {
        "format": FORMAT,
        "workspace": str(workspace.root),
        "asked": list(question.jobs),
        "taken_s": reading.taken_s,
        "jobs": [tuple(job) for job in reading.jobs.values()],
        "missing": reading.missing,
    }
    with suppress(OSError):
        keep_private(private_path(workspace, "jobs"), orjson.dumps(content))


def _kept(workspace: Workspace, question: Question) -> Reading | None:
    """None also when there is the least doubt about the file."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data = orjson.loads(private_path(workspace, "jobs").read_bytes())
        young = 0 <= time.time() - data["taken_s"] < question.every_s
        ours = data["format"] == FORMAT and data["workspace"] == str(workspace.root)
        if ours and young and set(question.jobs) <= set(data["asked"]):
            jobs = {one[0]: SeenJob(*one) for one in data["jobs"]}
            return Reading(data["taken_s"], jobs, tuple(data["missing"]))
    return None
