"""What a stage is doing now: a pure function of the evidence.

Markers on disk take precedence. Then a process is asked if it can be, then the scheduler's report counts if there is
one, then a recent sign of life. Otherwise a stage is `unknown`: silence is never a failure.

Clocks of nodes may be minutes ahead or behind, so what was seen on one is compared with Slurm's times by durations.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from detour.accounting.attempts import is_running
from detour.errors import Interrupted
from detour.ledger.allocations import APART_S
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
        """Whether Slurm has reported a known state of the attempt's job since the attempt's last sign of life.

        So it has if the job ended and the attempt did not begin after that, whatever the clock of its node.
        """
        seen = self.jobs.get(attempt.job or "")
        if seen is None or seen.standing == "unknown":
            return False
        has_ended = seen.ended_s is not None and (attempt.started_s or 0.0) <= seen.ended_s + APART_S
        return has_ended or seen.seen_s > (attempt.last_seen_s or 0.0)

    def last_seen_s(self, attempt: AttemptState) -> float | None:
        """When it gave its last sign of life: in a running job, not before its process had lived as long as it shows.

        So it is not too early on a node whose clock is behind. A process that has lived longer than the job was in an
        earlier run of it, as was one that started long before.
        """
        stated_s, seen = attempt.last_seen_s, self.jobs.get(attempt.job or "")
        if stated_s is None or seen is None or seen.standing != "running" or seen.started_s is None:
            return stated_s
        lived_s = _lived_s(attempt, self.writers)
        if lived_s is None:
            return stated_s
        earliest_s = seen.started_s + lived_s
        is_of_this_run = (attempt.started_s or 0.0) >= seen.started_s - APART_S and earliest_s <= self.now_s
        return max(stated_s, earliest_s) if is_of_this_run else stated_s

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


def _lived_s(attempt: AttemptState, writers: Mapping[str, WriterState]) -> float | None:
    """From the start of the attempt's process to its last sign of life, by the clock since its node's boot."""
    writer = writers.get(attempt.started.writer) if attempt.started else None
    if attempt.started is None or writer is None or writer.process is None or writer.process.start_ticks is None:
        return None
    return attempt.seen[attempt.started.writer][0] - writer.process.start_ticks / os.sysconf("SC_CLK_TCK")


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
