"""The word for what a stage is doing, why, and what its user does next. Pure functions of the evidence.

`liveness` decides among the ledger's eight statuses; the words here are finer: they separate normal events on a shared
cluster (preempted, requeued, saved at limit) from what needs a person.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from detour.ledger.stages import is_out_of_time
from detour.ledger.state import AttemptState, StageState, StageStatus
from detour.monitoring.full_disk import NEXT_STEP, SILENT_S, waits_in_words
from detour.monitoring.liveness import StatusEvidence, process_is_alive
from detour.monitoring.queries import SeenJob
from detour.monitoring.reasons import BY_ADMINISTRATOR, reason_in_words
from detour.scheduler.states import SUSPENDED
from detour.text import cut, format_duration

StateWord = Literal[
    "failed",
    "lost contact",
    "unknown",
    "interrupted",
    "node failed",
    "timed out",
    "preempted",
    "requeued",
    "saved at limit",
    "held",
    "running",
    "pending",
    "cancelled",
    "planned",
    "promoted",
    "done",
]
WORDS: tuple[StateWord, ...] = get_args(StateWord)
"""Worst first, among those that need a person and among those that do not."""
START_S = 120.0
"""Seconds from a job's start to its first sign of life: interpreter and libraries load from a busy file system."""
OUT_OF_MEMORY_SIGNAL = 125
"""By which Slurm marks a job that ran out of memory (`0:125`); no signal has this number."""
FAILURE_CELLS = 100
"""Greatest width of an earlier failure before the reason for which its repetition waits."""
AGAIN = "`{retry}` submits it again"
_OF_ENDS: dict[str, StateWord] = {
    "PREEMPTED": "preempted",
    "REQUEUED": "requeued",
    "TIMEOUT": "timed out",
    "NODE_FAIL": "node failed",
    "BOOT_FAIL": "node failed",
    "CANCELLED": "cancelled",
}


class Judged(NamedTuple):
    state: StateWord
    why: str | None = None
    """In words; None if there is nothing to say."""
    needs: bool = False
    """Whether a person is needed to continue."""
    next_step: str | None = None
    """What a person does to continue; `{retry}` stands for the command of that verb about the chain."""
    job: str | None = None
    """The job that `why` is about; None if it is about the stage."""


def judge(
    kind: str, known: StageState, status: StageStatus, marker_text: str | None, evidence: StatusEvidence
) -> Judged:
    """The word for a stage. `status` comes from `liveness.stage_status`; `marker_text` is the reason in its failure
    marker, or why its markers cannot be read.
    """
    match status:
        case "done":
            return Judged("promoted" if kind == "promote" else "done")
        case "planned":
            return Judged("planned")
        case "failed":
            return _failed(known, marker_text, evidence)
        case "unknown":
            return _unreadable(known, marker_text) if marker_text else _unknown(known, evidence)
        case "running":
            return _running(known, evidence)
        case "submitted":
            return _waiting(known, evidence)
        case "cancelled" | "interrupted":
            return _stopped(known, status, evidence)


def _failed(known: StageState, marker_text: str | None, evidence: StatusEvidence) -> Judged:
    why = marker_text or known.reason
    job, seen = None, _last_seen(known, evidence)
    if why is None and seen is not None:
        before = "" if known.attempts else " before it started the stage"
        why, job = _end_in_words(seen) + before, seen.id
    return Judged("failed", why, True, "`{why}`; once the cause is fixed: `{retry}`", job)


def _unreadable(known: StageState, marker_text: str) -> Judged:
    by_ledger = "" if known.status == "planned" else f"; by the ledger it is {known.status}"
    return Judged(
        "unknown", f"{marker_text}{by_ledger}", True, "ask its owner for the right to read it, then look again"
    )


def _unknown(known: StageState, evidence: StatusEvidence) -> Judged:
    seen = _last_seen(known, evidence)
    if seen is not None and seen.standing == "succeeded":
        why = "completed according to Slurm, but its output is missing (so far)"
        return Judged("unknown", why, True, "look again", seen.id)
    age_s = _silence_s(known, evidence)
    silent = "" if age_s is None else f"no sign of life for {format_duration(age_s)}, and "
    left = next((job for job in evidence.reports(known) if job.has_left), None)
    if left is not None:
        why = f"{silent}the queue does not list it, nor do the accounts say how it ended"
        return Judged("unknown", why, True, "look again; if it is gone for good, `{retry}` submits it again", left.id)
    return Judged("unknown", f"{silent}Slurm does not say", True, "look again when Slurm answers")


def _running(known: StageState, evidence: StatusEvidence) -> Judged:
    last = known.last_attempt
    age_s = _silence_s(known, evidence)
    if age_s is not None and known.id in evidence.waiting_for_room:
        return Judged("running", waits_in_words(age_s, is_full=evidence.disk_is_full), True, NEXT_STEP)
    suspended = next((job for job in evidence.reports(known) if job.state in SUSPENDED), None)
    if suspended is not None:
        return Judged("running", f"suspended, goes on once it is resumed ({suspended.state})", job=suspended.id)
    if age_s is not None and age_s > SILENT_S and _is_said_to_run(known, evidence):
        return _lost(f"runs, without a sign of life for {format_duration(age_s)}", last.job if last else None)
    if last is not None and last.ended is None:
        return Judged("running")
    begun = max((job for job in evidence.reports(known) if job.standing == "running"), key=_run_s, default=None)
    if begun is not None and _has_ended_in(known, begun):
        return Judged("running", "has stopped its work, and its job is ending", job=begun.id)
    if begun is not None and _run_s(begun) > START_S:
        ago = format_duration(evidence.now_s - (begun.started_s or 0.0))
        if evidence.disk_is_full:
            return Judged("running", f"started {ago} ago, and the disk is full", True, NEXT_STEP, begun.id)
        return _lost(f"started {ago} ago, and has given no sign of life", begun.id)
    return Judged("running", "has started, and not yet given a sign of life", job=begun.id if begun else None)


def _has_ended_in(known: StageState, job: SeenJob) -> bool:
    """Whether an attempt began and ended since the job's start."""
    ended = (one.ended for one in known.attempts if one.job == job.id and one.ended)
    return any(end.wall_s > (job.started_s or 0.0) for end in ended)


def _lost(why: str, job: str | None) -> Judged:
    step = "`{why}`; `{logs}` shows its last output"
    return Judged("lost contact", why, True, step, job)


def _run_s(job: SeenJob) -> float:
    """Seconds it had run when last seen; 0 if unknown."""
    return job.seen_s - job.started_s if job.started_s is not None else 0.0


def _waiting(known: StageState, evidence: StatusEvidence) -> Judged:
    waiting = _waiting_job(known, evidence)
    if waiting is None:
        return Judged("pending", None)
    why = reason_in_words(waiting.reason, waiting.is_held)
    if waiting.is_held and waiting.reason == BY_ADMINISTRATOR:
        return Judged("held", why, True, "ask the site why: only it can release the job", waiting.id)
    if waiting.is_held:
        more = "; ask the site if it is held again" if waiting.reason.startswith("held by Slurm") else ""
        return Judged("held", why, True, f"`{{release}}`{more}", waiting.id)
    if waiting.reason == "DependencyNeverSatisfied":
        return Judged("pending", why, True, "`{cancel}`, then `{retry}`", waiting.id)
    last = known.last_attempt
    word = end_of(last, evidence, waiting) if last is not None else None
    failure = _failure_of(last, evidence) if word is None and last is not None and last.job != waiting.id else None
    if failure:
        why = f"after a failed attempt ({cut(' '.join(failure.split()), FAILURE_CELLS)}): {why}"
    return Judged(word or "pending", why, job=waiting.id)


def _stopped(known: StageState, status: StageStatus, evidence: StatusEvidence) -> Judged:
    """The word for a stage that has stopped without another job that could continue it."""
    last = known.last_attempt
    seen = _last_seen(known, evidence)
    if status == "cancelled":
        if seen is None:
            return Judged("cancelled", next_step=AGAIN)
        began = last is not None or seen.started_s
        return Judged("cancelled", f"cancelled {'after' if began else 'before'} it started", False, AGAIN, seen.id)
    word = (end_of(last, evidence) if last else _OF_ENDS.get(seen.state) if seen else None) or "interrupted"
    why, job = last.reason if last else None, None
    if why is None and seen is not None:
        why, job = _end_in_words(seen), seen.id
    return Judged(word, why, True, f"{AGAIN}; it resumes from its last checkpoint", job)


def end_of(attempt: AttemptState, evidence: StatusEvidence, waiting: SeenJob | None = None) -> StateWord | None:
    """How the last attempt ended; None unless it is known to have ended without its result."""
    seen = evidence.jobs.get(attempt.job or "")
    slurms = seen.before or seen.state if seen else ""
    word = _OF_ENDS.get(slurms)
    saved = attempt.outcome == "interrupted"
    if word in ("preempted", "node failed", "requeued"):
        return word
    if saved and is_out_of_time(attempt.reason):
        return "saved at limit"
    if word is not None:
        return "saved at limit" if word == "timed out" and saved else word
    if waiting is not None and waiting.id == attempt.job:
        return "requeued"
    return "interrupted" if saved else None


def _failure_of(attempt: AttemptState, evidence: StatusEvidence) -> str | None:
    """How an attempt failed that the next job repeats: in its own words, or in Slurm's if it was killed."""
    if attempt.outcome == "failed":
        return attempt.reason
    return _end_in_words(evidence.jobs[attempt.job or ""]) if evidence.was_killed_by_failure(attempt) else None


def _end_in_words(seen: SeenJob) -> str:
    """How the job ended; with exit code and signal if the job itself failed."""
    if seen.standing != "failed":
        return f"ended as {seen.state}"
    code = f", exit code {seen.exit_code}" if seen.exit_code else ""
    signal = f", signal {seen.signal}" if seen.signal and seen.signal != OUT_OF_MEMORY_SIGNAL else ""
    return f"ended as {seen.state}{code}{signal}"


def _is_said_to_run(known: StageState, evidence: StatusEvidence) -> bool:
    """Whether Slurm, or this machine if it ran here, reports that it is running; its own signs of life do not count."""
    last = known.last_attempt
    return last is not None and (
        evidence.standing(last.job) == "running" or process_is_alive(last, evidence.writers) is True
    )


def _silence_s(known: StageState, evidence: StatusEvidence) -> float | None:
    """Seconds since the last attempt's last sign of life; None if the attempt has ended."""
    last = known.last_attempt
    if last is not None and last.ended is None and (seen_s := evidence.last_seen_s(last)) is not None:
        return max(evidence.now_s - seen_s, 0.0)
    return None


def _waiting_job(known: StageState, evidence: StatusEvidence) -> SeenJob | None:
    """The pending job; of several segments the next one, since the others wait for it."""
    waiting = [job for job in evidence.reports(known) if job.standing == "waiting"]
    return min(waiting, key=lambda job: job.reason == "Dependency", default=None)


def _last_seen(known: StageState, evidence: StatusEvidence) -> SeenJob | None:
    """The job that ended last, according to Slurm."""
    ended = [job for job in evidence.reports(known) if job.standing not in ("waiting", "running") and not job.has_left]
    return max(ended, key=lambda job: (job.started_s is not None, job.ended_s or 0.0), default=None)
