"""What a stage is doing now: a pure function of the evidence.

Markers on disk take precedence. Then a process is asked if it can be, then the scheduler's report counts if there is
one, then a recent sign of life. Otherwise a stage is `unknown`: silence is never a failure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from detour.accounting.attempts import is_running
from detour.errors import Interrupted
from detour.ledger.state import AttemptState, StageState, StageStatus, WriterState
from detour.monitoring.queries import SeenJob
from detour.text import counted

Marker = Literal["done", "failed", "unreadable"]
_LIVE = ("waiting", "running")


class StatusEvidence(NamedTuple):
    """What is known in addition to a stage's own events."""

    now_s: float
    writers: Mapping[str, WriterState] = MappingProxyType({})
    jobs: Mapping[str, SeenJob] = MappingProxyType({})
    """Id of a job of the stage -> what Slurm reports about it; a missing job is unknown, not ended."""
    waiting_for_room: frozenset[str] = frozenset()
    """Stages whose owner is alive although their journal is silent (`full_disk`)."""
    disk_is_full: bool = False

    def is_later(self, attempt: AttemptState) -> bool:
        """Whether Slurm has reported a known state of the attempt's job since the attempt's last sign of life."""
        seen = self.jobs.get(attempt.job or "")
        return seen is not None and seen.standing != "unknown" and seen.seen_s > (attempt.last_seen_s or 0.0)

    def reports(self, known: StageState) -> list[SeenJob]:
        """What Slurm reports about the stage's jobs, without what it said of a live job before its attempt ended."""
        ended_s = {attempt.job: attempt.ended.wall_s for attempt in known.attempts if attempt.ended}
        return [
            seen
            for job in sorted(known.all_jobs)
            if (seen := self.jobs.get(job)) and (seen.standing not in _LIVE or seen.seen_s > ended_s.get(job, 0.0))
        ]

    def was_killed_by_failure(self, attempt: AttemptState) -> bool:
        """Whether the attempt has no recorded end because its job failed: a crash, or the end of the memory."""
        seen = self.jobs.get(attempt.job or "")
        is_failed = seen is not None and seen.standing == "failed" and seen.exit_code != Interrupted.exit_code
        return attempt.ended is None and is_failed

    def standing(self, job: str | None) -> str:
        seen = self.jobs.get(job or "")
        return seen.standing if seen else "unknown"


def unread_sentence(errors: Sequence[OSError]) -> Iterator[str]:
    """Why markers cannot be read: one sentence, even for the thousands of stages of one folder."""
    for error in errors[:1]:
        others = f", nor those of {counted(left, 'other stage')}" if (left := len(errors) - 1) else ""
        yield f"{error.filename}: cannot be read ({error.strerror}){others}"


def stage_status(known: StageState, marker: Marker | None, evidence: StatusEvidence) -> StageStatus:
    """The status of a stage, in one word. With unreadable markers, done and failed are both `unknown`."""
    if marker == "unreadable":
        by_ledger = stage_status(known, None, evidence)
        return by_ledger if by_ledger in ("running", "submitted") else "unknown"
    if marker is not None:
        return marker
    if known.is_cancelled:
        return "cancelled"
    status = known.status
    if status == "running":
        status = _of_open_attempt(known, evidence)
    elif status == "done":  # its output has been removed since
        status = "planned"
    elif known.failure is not None:  # `retry` has removed the marker
        status = "interrupted"
    if status == "running":
        return status
    reports = {seen.id: seen for seen in evidence.reports(known)}
    queued = {_standing(reports.get(job)) for job in known.jobs}
    if "running" in queued:
        return "running"
    if "waiting" in queued:
        return "submitted"
    last = known.last_attempt
    if status == "interrupted" and last is not None and evidence.standing(last.job) == "cancelled":
        return "cancelled"  # by scancel: asked to stop, the job saved, and there is no other
    return _of_ended_jobs(queued) if status == "submitted" and queued else status


def _standing(seen: SeenJob | None) -> str:
    """Its standing; `left` if it has left the queue without a known end."""
    if seen is None:
        return "unknown"
    return "left" if seen.has_left else seen.standing


def _of_ended_jobs(standings: Collection[str]) -> StageStatus:
    """The status of a stage without a recorded start; the marker of a job that succeeded may still appear."""
    if "unknown" in standings:
        return "submitted"
    if "left" in standings or "succeeded" in standings:
        return "unknown"
    if "interrupted" in standings:
        return "interrupted"
    return "failed" if "failed" in standings else "cancelled"


def process_is_alive(attempt: AttemptState, writers: Mapping[str, WriterState]) -> bool | None:
    """None if it cannot be known from here."""
    writer = writers.get(attempt.started.writer) if attempt.started else None
    return writer.process.is_alive() if writer and writer.process else None


def _of_open_attempt(known: StageState, evidence: StatusEvidence) -> StageStatus:
    attempt = known.attempts[-1]
    alive = process_is_alive(attempt, evidence.writers)
    if alive is not None:
        return "running" if alive else "interrupted"
    standing = evidence.standing(attempt.job)
    lives = is_running(attempt, evidence.now_s) or known.id in evidence.waiting_for_room
    if standing == "running" or (lives and not evidence.is_later(attempt)):
        return "running"
    if standing == "unknown":
        return "unknown"
    if standing == "waiting":
        return "submitted"
    return "failed" if evidence.was_killed_by_failure(attempt) else "interrupted"
