"""What happened, folded from the ledger's records: the same whatever the order of arrival, and however often.

Each figure is kept with the mark of the record that told it, and gives way only to a later mark of its own attempt; so
records may come twice (a segment beside its sources, an imported spool) or late. Inside a writer the sequence decides;
between writers the cause does: a higher attempt number follows a lower one. Wall clocks of different machines decide
nothing but the choice among equals.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from operator import itemgetter
from typing import Any

from detour.ledger.process import Process
from detour.ledger.reading import COMPACTED, LedgerReader
from detour.ledger.record import SCHEMA, Record
from detour.ledger.stages import AttemptState, ChainState, Mark, StageState, StageStatus, WriterState
from detour.ledger.workspace import Workspace

__all__ = ["AttemptState", "ChainState", "Mark", "StageState", "StageStatus", "State", "WriterState", "load_state"]

_FIELDS = itemgetter(*Record.__annotations__)
_OPTIONAL_STR, _OPTIONAL_INT = (str, type(None)), (int, type(None))
_SHAPES = {
    (int, float, float, str, int, str, *named, dict)
    for named in product(_OPTIONAL_STR, _OPTIONAL_STR, _OPTIONAL_STR, _OPTIONAL_INT)
}
"""Types of the fields as this version writes them: whoever may write here can make a good checksum."""
_new_tuple = tuple.__new__
"""Makes a named tuple in half the time."""


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
            if tuple(map(type, fields)) not in _SHAPES or fields[0] != SCHEMA:
                self.foreign += 1
                continue
            _, wall_s, mono_s, name, sequence, kind, chain, stage, job, number, data = fields
            writer = self.writers.get(name)
            if writer is None:
                writer = self.writers[name] = WriterState()
            if writer.is_new(sequence):
                self.records += 1
                mark = _new_tuple(Mark, (sequence, name, wall_s, mono_s, data))
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
    _, writer, wall_s, mono_s, _ = mark
    seen = attempt.seen.get(writer)
    if seen is None or (mono_s >= seen[0] and wall_s >= seen[1]):
        attempt.seen[writer] = (mono_s, wall_s)
    else:
        attempt.seen[writer] = (max(mono_s, seen[0]), max(wall_s, seen[1]))
    if kind == "progress":
        if attempt.progress is None or mark > attempt.progress:
            attempt.progress = mark
        if attempt.first_progress is None or mark < attempt.first_progress:
            attempt.first_progress = mark
    elif kind == "energy":
        _keep_later(attempt.energy, writer, mark)
    elif kind == "checkpoint.saved":
        attempt.checkpoint = mark if attempt.checkpoint is None else max(attempt.checkpoint, mark)
    elif kind == "attempt.started":
        attempt.started = mark if attempt.started is None else min(attempt.started, mark)
    elif kind == "attempt.ended":
        attempt.ended = mark if attempt.ended is None else max(attempt.ended, mark)


def _keep_later(kept: dict[Any, Mark], key: Any, mark: Mark) -> None:
    if key not in kept or mark > kept[key]:
        kept[key] = mark


def load_state(workspace: Workspace) -> tuple[State, LedgerReader]:
    """The present state, and the reader that keeps it up to date: `state.refresh(reader)`."""
    reader, state = LedgerReader(workspace), State()
    state.refresh(reader)
    return state, reader
