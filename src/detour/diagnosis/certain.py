"""Verdicts that need no ranking: the job is in the queue, the stage is done, or the segment saved before it ended."""

from __future__ import annotations

import re
from collections.abc import Sequence

from detour.diagnosis.evidence import Evidence, LedgerEvent, SlurmRow
from detour.diagnosis.findings import Finding, Place, event_text, find, row_text
from detour.diagnosis.lines import Line, read_lines
from detour.diagnosis.rules import Retry, Rule, causes, rules
from detour.diagnosis.verdict import Candidate, Confidence, Verdict
from detour.ledger.events import AttemptEnded, AttemptStarted, CheckpointSaved, ProgressMade, StageDone, StageFailed

HELD_BY_SLURM = ("REQUEUE_HOLD", "RH", "SPECIAL_EXIT", "SE", "RESV_DEL_HOLD", "RD")
PENDING = ("PENDING", "PD", "REQUEUED", "RQ", "REQUEUE_FED", *HELD_BY_SLURM)
SUSPENDED = ("SUSPENDED", "S", "STOPPED")
RUNNING = ("RUNNING", "R", "CONFIGURING", "CF", *SUSPENDED, "RESIZING", "SIGNALING", "STAGE_OUT")
FAILED = ("FAILED", "OUT_OF_MEMORY", "NODE_FAIL", "TIMEOUT")
TAKEN_BACK = ("PREEMPTED", "NODE_FAIL", "REQUEUED", "BOOT_FAIL")
QUEUE_FIELDS = {"Reason": ("NODELIST(REASON)",), "Dependency": (), "State": ("ST", "JobState")}
"""Fields that are judged -> their other names."""
SAVED_EXIT = "85:0"
BY_TIME = ("TIMEOUT", "DEADLINE")
_ALREADY = re.compile(r"\bis already done\b")
_SAVED = re.compile(
    r"\b(saved|checkpoint (saved|written)|saving .* (done|took|finished)|wrote checkpoint)\b", re.IGNORECASE
)
_TAKEN = re.compile(r"DUE TO (PREEMPTION|JOB REQUEUE)")
_STOPPING = re.compile(r"SIGUSR|SIGTERM|time limit|stop(ping)? (at|after)|saving at the next step", re.IGNORECASE)


def settled(evidence: Evidence) -> Verdict | None:
    return _in_queue(evidence) or _done(evidence) or _saved(evidence) or _never_started(evidence)


def _in_queue(evidence: Evidence) -> Verdict | None:
    command, row = _live(evidence)
    if row is None:
        return None
    state = row.get("State", *QUEUE_FIELDS["State"]).upper()
    if state in RUNNING:
        doing = "It is suspended, and goes on once it is resumed." if state in SUSPENDED else "It is running."
        return _normal(_place(command, row, "State"), doing, "no")
    if state and state not in PENDING:
        return None
    if (again := _requeued(evidence)) is not None:
        return again
    spelled = {field: row.named(field, *QUEUE_FIELDS[field]) for field in QUEUE_FIELDS}
    for rule in rules("queue"):
        for field, (name, value) in spelled.items():
            if value and rule.fits(f"{field}={value}"):
                return _by_rule(rule, Place("queue", f"{command} {row.id} {name}={value}"))
    return None


def _live(evidence: Evidence) -> tuple[str, SlurmRow | None]:
    """The row of a job that has not ended: squeue's, otherwise sacct's."""
    if evidence.squeue is not None:
        return "squeue", evidence.squeue
    row = evidence.last_run
    state = row.get("State") if row else ""
    is_live = state in ("PENDING", *HELD_BY_SLURM) or (state in RUNNING and "squeue" in evidence.unreadable)
    return "sacct", row if is_live else None


def _requeued(evidence: Evidence) -> Verdict | None:
    """A job that has run before and is pending again after Slurm requeued it."""
    row = evidence.squeue
    reason = row.get("Reason").strip("()") if row else ""
    if row is None or reason not in ("BeginTime", "None", "", "Resources", "Priority"):
        return None
    ran = [one for one in evidence.job_rows if one.state in TAKEN_BACK]
    restarted = row.get("Restarts", "RestartCnt").strip("0")
    said = _taken_back(evidence)
    if not (ran or restarted or said or (reason == "BeginTime" and evidence.last(AttemptStarted.kind))):
        return None
    place = Place("job", row_text(ran[-1], "State")) if ran else said or _place("squeue", row, "Reason")
    failed = bool(ran) and ran[-1].get("State").startswith(("NODE_FAIL", "BOOT_FAIL"))
    name = "node_failure" if failed else "preempted"
    return _candidate(name, place, f"{causes()[name].advice} Slurm has requeued it.", "yes", "high")


def _done(evidence: Evidence) -> Verdict | None:
    last = evidence.last(StageDone.kind, AttemptEnded.kind, AttemptStarted.kind, StageFailed.kind)
    if last is not None and (last.kind == StageDone.kind or _outcome(last) in ("done", "already-done")):
        return _normal(Place("event", event_text(last)), "The stage is done; there is nothing to retry.", "no")
    row = evidence.last_run
    if row is None or not row.get("State").startswith("COMPLETED") or row.get("DerivedExitCode") not in ("", "0:0"):
        return None
    if (last is not None and last.kind != AttemptStarted.kind and last.data.get("exit_code") != 0) or any(
        step.state in FAILED for step in evidence.step_rows
    ):
        return None
    lines, found = read_lines(evidence.log or ()), find(evidence)
    if _ends_with_traceback(lines, found):
        return None
    already = next(
        (Place("log", line.raw, line.number) for line in lines if _ALREADY.search(line.text)),
        None,
    )
    confidence: Confidence = "medium" if any(finding.strength == 3 and finding.cause for finding in found) else "high"
    place = already or Place("job", row_text(row, "State"))
    return _normal(place, "The job ended well.", "no", confidence)


def _ends_with_traceback(lines: Sequence[Line], found: Sequence[Finding]) -> bool:
    """Whether the log ends with a traceback that names a cause, as if its script had lost the exit code by a pipe into
    `tee`. A broken pipe at the end names none.
    """
    last = next((line for line in reversed(lines) if line.text.strip()), None)
    if last is None or not last.within or last.is_quoted:
        return False
    return any(finding.cause is not None and finding.place.line == last.number for finding in found)


def _outcome(event: LedgerEvent) -> str | None:
    return str(event.data.get("outcome")) if event.kind == AttemptEnded.kind else None


def _saved(evidence: Evidence) -> Verdict | None:
    """A segment that ended by time or by request and lost nothing: the work got no further than the last checkpoint."""
    row = evidence.last_run
    state = row.state if row else _state_in_log(evidence)
    last = evidence.last(AttemptEnded.kind, AttemptStarted.kind)
    asked = row is not None and row.get("ExitCode") == SAVED_EXIT
    asked = asked or (last is not None and (_outcome(last) == "interrupted" or last.data.get("exit_code") == 85))
    if _taken_back(evidence) or state not in (*BY_TIME, *(("FAILED", "COMPLETED", "") if asked else ())):
        return None
    event, line = evidence.last(CheckpointSaved.kind), _saved_line(evidence)
    if not (asked or line or (event is not None and _nothing_lost(event, evidence))):
        return None
    place = Place("event", event_text(event)) if event else line or (Place("event", event_text(last)) if last else None)
    where = f"saving step {event.data.get('step')}" if event else "saving"
    if _ran_without_slurm(evidence):
        return _normal(place, f"It was stopped after {where}; `detour run` with the same recipe resumes it.", "yes")
    return _normal(place, f"The segment stopped after {where}; the next segment resumes from there.", "yes")


def _ran_without_slurm(evidence: Evidence) -> bool:
    started = evidence.last(AttemptStarted.kind)
    if started is None or evidence.sacct is not None:
        return False
    return evidence.job is None or started.data.get("cluster") == "local"


def still_running(evidence: Evidence) -> Verdict:
    """The verdict on a living process without a scheduler, which evidence alone cannot tell from a dead one."""
    started = evidence.last(AttemptStarted.kind)
    return _normal(Place("event", event_text(started)) if started else None, "It is running.", "no")


def _never_started(evidence: Evidence) -> Verdict | None:
    """A stage without a job, event or log: nothing has tried it."""
    if evidence.job is not None or evidence.squeue is not None or evidence.sacct is not None or evidence.log:
        return None
    if evidence.events is None or evidence.events or {"sacct", "squeue", "events"} & evidence.unreadable.keys():
        return None
    return _normal(None, "It has not started: `detour run` or `detour submit` with its recipe starts it.", "yes")


def _state_in_log(evidence: Evidence) -> str:
    return "TIMEOUT" if any("DUE TO TIME LIMIT" in line for line in evidence.log or ()) else ""


def _taken_back(evidence: Evidence) -> Place | None:
    """The line by which the log reports a preemption or requeue, which the accounts may not show yet."""
    lines = enumerate(evidence.log or (), 1)
    return next((Place("log", line, number) for number, line in lines if _TAKEN.search(line)), None)


def _nothing_lost(saved: LedgerEvent, evidence: Evidence) -> bool:
    """Whether no step and no token is known to have been made after the checkpoint."""
    steps = [line.progress for line in read_lines(evidence.log or ()) if line.progress is not None]
    made = {"step": max(steps, default=0)}
    if (progress := evidence.last(ProgressMade.kind)) is not None:
        unit, done = str(progress.data.get("unit", "")).rstrip("s"), progress.data.get("done")
        made[unit] = max(made.get(unit, 0), done if isinstance(done, int) else 0)
    kept = {"step": saved.data.get("step"), "token": saved.data.get("tokens")}
    known = [(kept.get(unit), done) for unit, done in made.items() if done]
    return bool(known) and all(isinstance(step, int) and step >= done for step, done in known)


def _saved_line(evidence: Evidence) -> Place | None:
    """The line by which the log says that it saved after it was asked to stop, if no further step follows."""
    found, stopping = None, False
    for line in read_lines(evidence.log or ()):
        stopping = stopping or bool(_STOPPING.search(line.text))
        if stopping and _SAVED.search(line.text):
            found = Place("log", line.raw, line.number)
        elif line.progress is not None and found is not None:
            found = None
    return found


def _place(command: str, row: SlurmRow, field: str) -> Place:
    name, value = row.named(field, *QUEUE_FIELDS[field])
    return Place("queue", f"{command} {row.id} {name}={value}")


def _by_rule(rule: Rule, place: Place) -> Verdict:
    cause = causes()[str(rule.cause)]
    confidence: Confidence = "high" if rule.strength == 3 else "medium"
    return _candidate(cause.id, place, rule.advice or cause.advice, rule.retry or cause.retry, confidence, rule.id)


def _normal(place: Place | None, advice: str, retry: Retry, confidence: Confidence = "high") -> Verdict:
    return _candidate("normal", place, f"Nothing failed. {advice}", retry, confidence)


def _candidate(
    cause: str, place: Place | None, advice: str, retry: Retry, confidence: Confidence, rule: str | None = None
) -> Verdict:
    return Verdict(Candidate(cause, confidence, (place,) if place else (), retry, advice, rule))
