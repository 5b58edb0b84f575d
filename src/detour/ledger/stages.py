"""What is known of stages, attempts, chains and writers: the parts of the folded state, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from detour.ledger.process import Process

StageStatus = Literal["planned", "submitted", "running", "interrupted", "done", "failed", "cancelled", "unknown"]
_OUTCOMES: dict[object, StageStatus] = {
    "done": "done",
    "already-done": "done",
    "interrupted": "interrupted",
    "not-ready": "interrupted",
    "failed": "failed",
    "refused": "failed",
}


class Mark(NamedTuple):
    """A record's place and content; of two marks of one attempt the greater is the later."""

    sequence: int
    writer: str
    wall_s: float
    mono_s: float
    data: dict[str, Any]


@dataclass(slots=True)
class WriterState:
    process: Process | None = None
    closed: bool = False
    next: int = 0
    """Every sequence number below it has been seen."""
    ahead: set[int] = field(default_factory=set)
    """Seen beyond a gap."""

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
    job: str | None
    started: Mark | None = None
    ended: Mark | None = None
    """`data`: outcome, exit_code, reason, result."""
    first_progress: Mark | None = None
    progress: Mark | None = None
    """`data`: done, total, unit, figures."""
    checkpoint: Mark | None = None
    energy: dict[str, Mark] = field(default_factory=dict)
    """Writer (one a node) -> its last cumulative figures."""
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Writer -> the last monotonic and the last wall-clock second at which it gave a sign of life."""

    @property
    def outcome(self) -> StageStatus | None:
        """None while no end is recorded."""
        if self.ended is None:
            return None
        by_code: dict[object, StageStatus] = {0: "done", 85: "interrupted", 87: "interrupted"}
        return _OUTCOMES.get(self.ended.data.get("outcome")) or by_code.get(self.exit_code, "failed")

    @property
    def exit_code(self) -> int | None:
        code = self.ended.data.get("exit_code") if self.ended else None
        return code if isinstance(code, int) else None

    @property
    def reason(self) -> str | None:
        reason = self.ended.data.get("reason") if self.ended else None
        return reason if isinstance(reason, str) else None

    @property
    def started_s(self) -> float | None:
        return self.started.wall_s if self.started else None

    @property
    def last_seen_s(self) -> float | None:
        """Wall-clock time of the last sign of life of any of its writers."""
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
    planned_by: dict[str, Mark] = field(default_factory=dict)
    """Writer -> its last word on what the stage is."""
    attempts_by_key: dict[tuple[int, str], AttemptState] = field(default_factory=dict)
    done: dict[int, Mark] = field(default_factory=dict)
    failed: dict[int, Mark] = field(default_factory=dict)
    """Attempt number -> the event that ended the stage for good."""
    submitted_jobs: set[str] = field(default_factory=set)
    cancelled_jobs: set[str] = field(default_factory=set)

    @property
    def planned(self) -> Mark | None:
        return _by_clock(self.planned_by.values())

    @property
    def attempts(self) -> list[AttemptState]:
        """In the order of their numbers."""
        return [self.attempts_by_key[key] for key in sorted(self.attempts_by_key)]

    @property
    def jobs(self) -> set[str]:
        """Submitted and not withdrawn."""
        return self.submitted_jobs - self.cancelled_jobs

    @property
    def is_open(self) -> bool:
        """By the ledger's word, a job of it may still change something: neither done nor failed for good."""
        return self.status != "done" and not (self.failed and self.status == "failed")

    @property
    def progress(self) -> Mark | None:
        """Of the latest attempt that got that far."""
        told = [attempt.progress for attempt in self.attempts if attempt.progress]
        return told[-1] if told else None

    @property
    def result(self) -> Any:
        """What the stage said when it was done; None when it is not, or said nothing."""
        return self.done[max(self.done)].data.get("result") if self.done else None

    @property
    def reason(self) -> str | None:
        """Why it failed or stopped, in its own words."""
        if self.failed:
            reason = self.failed[max(self.failed)].data.get("reason")
            return reason if isinstance(reason, str) else None
        return self.attempts[-1].reason if self.attempts_by_key else None

    @property
    def status(self) -> StageStatus:
        """By the ledger's word alone; a missing end reads as `running`, whoever can look further decides."""
        attempts = self.attempts
        if self.done or any(attempt.outcome == "done" for attempt in attempts):
            return "done"
        if self.failed and max(self.failed) >= (attempts[-1].number if attempts else 0):
            return "failed"
        if attempts:
            return attempts[-1].outcome or "running"
        return "submitted" if self.jobs else "planned"


@dataclass(slots=True)
class ChainState:
    name: str
    told: dict[str, dict[str, Mark]] = field(default_factory=dict)
    """Kind -> writer -> its last event that concerns the chain as a whole (chain.*, submit.*, cancel.*, budget.*)."""

    def latest(self, kind: str) -> Mark | None:
        return _by_clock(self.told.get(kind, {}).values())


def _by_clock(marks: Iterable[Mark]) -> Mark | None:
    """Among the last words of commands, which have no number that orders them, the clock chooses."""
    return max(marks, key=lambda mark: (mark.wall_s, mark.writer), default=None)
