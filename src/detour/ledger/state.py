"""What happened, folded from the ledger's records: the same whatever the order of arrival, and however often.

Each figure is kept with the mark of the record that told it, and gives way only to a later mark of its own attempt; so
records may come twice (a segment beside its sources, an imported spool) or late. Inside a writer the sequence decides;
between writers the cause does: a higher attempt number follows a lower one. Wall clocks of different machines decide
nothing but the choice among equals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from detour.ledger.process import Process
from detour.ledger.reading import COMPACTED, LedgerReader
from detour.ledger.record import SCHEMA, Record
from detour.ledger.workspace import Workspace

StageStatus = Literal["planned", "submitted", "running", "interrupted", "done", "failed", "unknown"]
_OUTCOMES: dict[object, StageStatus] = {
    "done": "done",
    "already-done": "done",
    "interrupted": "interrupted",
    "not-ready": "interrupted",
    "failed": "failed",
    "refused": "failed",
}
_FIELDS = itemgetter(
    "schema",
    "wall_s",
    "mono_s",
    "writer",
    "sequence",
    "kind",
    "chain",
    "stage",
    "job",
    "attempt",
    "data",
)


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


@dataclass(slots=True)
class State:
    """The folded ledger. `add` is idempotent and indifferent to the order of records."""

    chains: dict[str, ChainState] = field(default_factory=dict)
    stages: dict[str, StageState] = field(default_factory=dict)
    writers: dict[str, WriterState] = field(default_factory=dict)
    records: int = 0
    """Distinct records that were folded."""
    foreign: int = 0
    """Records with a good checksum that this version does not understand."""
    damaged_sources: int = 0
    """Bad lines that were in journals when they were compacted."""

    @property
    def missing(self) -> int:
        """Records known to have been written and never seen."""
        return sum(writer.missing for writer in self.writers.values())

    def refresh(self, reader: LedgerReader) -> None:
        """Add what the ledger holds since the reader last looked."""
        for batch in reader.read_new():
            self.add(batch)

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            try:
                fields = _FIELDS(record)
            except (TypeError, KeyError):  # good checksum, but no record
                self.foreign += 1
                continue
            if not _is_ours(*fields):
                self.foreign += 1
                continue
            _, wall_s, mono_s, name, sequence, kind, chain, stage, job, number, data = fields
            writer = self.writers.get(name)
            if writer is None:
                writer = self.writers[name] = WriterState()
            if writer.is_new(sequence):
                self.records += 1
                mark = Mark(sequence, name, wall_s, mono_s, data)
                if stage is not None:
                    self._add_to_stage(stage, kind, job, number, mark)
                else:
                    self._add_other(kind, chain, mark)

    def _add_other(self, kind: str, chain_name: str | None, mark: Mark) -> None:
        if chain_name is not None:
            chain = self.chains.setdefault(chain_name, ChainState(chain_name))
            _keep_later(chain.told.setdefault(kind, {}), mark.writer, mark)
        elif kind == "journal.opened":
            self.writers[mark.writer].process = Process.from_json(mark.data)
        elif kind == "journal.closed":
            self.writers[mark.writer].closed = True
        elif kind == COMPACTED:
            bad_lines = mark.data.get("bad_lines")
            self.damaged_sources += bad_lines if isinstance(bad_lines, int) else 0

    def _add_to_stage(self, stage_id: str, kind: str, job: str | None, number: int | None, mark: Mark) -> None:
        stage = self.stages.get(stage_id)
        if stage is None:
            stage = self.stages[stage_id] = StageState(stage_id)
        if number is not None:
            _add_to_attempt(stage, number, job, kind, mark)
        if kind == "stage.done":
            _keep_later(stage.done, number or 0, mark)
        elif kind == "stage.failed":
            _keep_later(stage.failed, number or 0, mark)
        elif kind == "stage.planned":
            _keep_later(stage.planned_by, mark.writer, mark)
        elif job is not None and kind.startswith("submit."):
            stage.submitted_jobs.add(job)
        elif job is not None and kind.startswith("cancel."):
            stage.cancelled_jobs.add(job)


def _add_to_attempt(stage: StageState, number: int, job: str | None, kind: str, mark: Mark) -> None:
    key = (number, job or "")
    attempt = stage.attempts_by_key.get(key)
    if attempt is None:
        attempt = stage.attempts_by_key[key] = AttemptState(number, job)
    mono_s, wall_s = attempt.seen.get(mark.writer, (float("-inf"), float("-inf")))
    attempt.seen[mark.writer] = (max(mono_s, mark.mono_s), max(wall_s, mark.wall_s))
    if kind == "progress":
        if attempt.progress is None or mark > attempt.progress:
            attempt.progress = mark
        if attempt.first_progress is None or mark < attempt.first_progress:
            attempt.first_progress = mark
    elif kind == "energy":
        _keep_later(attempt.energy, mark.writer, mark)
    elif kind == "checkpoint.saved":
        attempt.checkpoint = mark if attempt.checkpoint is None else max(attempt.checkpoint, mark)
    elif kind == "attempt.started":
        attempt.started = mark if attempt.started is None else min(attempt.started, mark)
    elif kind == "attempt.ended":
        attempt.ended = mark if attempt.ended is None else max(attempt.ended, mark)


def _keep_later(kept: dict[Any, Mark], key: Any, mark: Mark) -> None:
    if key not in kept or mark > kept[key]:
        kept[key] = mark


def _by_clock(marks: Iterable[Mark]) -> Mark | None:
    """Among the last words of commands, which have no number that orders them, the clock chooses."""
    return max(marks, key=lambda mark: (mark.wall_s, mark.writer), default=None)


def _is_ours(
    schema: object,
    wall_s: object,
    mono_s: object,
    writer: object,
    sequence: object,
    kind: object,
    chain: object,
    stage: object,
    job: object,
    attempt: object,
    data: object,
) -> bool:
    """Whether the fields are what this version writes: whoever may write here can make a good checksum."""
    return (
        schema == SCHEMA
        and type(wall_s) is float
        and type(mono_s) is float
        and type(writer) is str
        and type(sequence) is int
        and type(kind) is str
        and (chain is None or type(chain) is str)
        and (stage is None or type(stage) is str)
        and (job is None or type(job) is str)
        and (attempt is None or type(attempt) is int)
        and type(data) is dict
    )


def load_state(workspace: Workspace) -> tuple[State, LedgerReader]:
    """The present state, and the reader that keeps it up to date: `state.refresh(reader)`."""
    reader, state = LedgerReader(workspace), State()
    state.refresh(reader)
    return state, reader
