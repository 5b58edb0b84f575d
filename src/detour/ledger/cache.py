"""The ledger as last read, kept between commands so that reading a large ledger is fast.

Only a cache (see `private`): tied to the exact files it was read from, and dropped at the slightest doubt (a file gone,
replaced or shortened, other code). It is never authoritative and may be deleted at any time.

<temporary folder>/detour-cache-<uid>/
  <crc32 of the workspace>.state.json      lines: how far each journal is in the folded state, then the state
  <crc32 of the workspace>.history.json    lines: how far each journal is in it, then events of trainings, for reports
  <crc32 of the workspace>.commands.json   entries that the fold does not keep; only for the state of the same stamp
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from io import BytesIO
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from detour.grouping import grouped
from detour.ledger.events import KINDS, Event
from detour.ledger.private import code_version, keep_private, private_file, read_private
from detour.ledger.process import Process
from detour.ledger.reading import LedgerReader, Selection
from detour.ledger.record import Entry, once
from detour.ledger.stages import AttemptState, StageState, WriterState
from detour.ledger.state import State
from detour.ledger.workspace import Workspace

BLOCK_STAGES = 200
"""Stages per line. Memory used to read one line is reused for the next and stays in the processor's cache."""
HISTORY_WORTH_KEEPING, MOST_HISTORY = 2_000, 200_000
"""Number of new events worth caching, and the largest number cached (50 MB)."""
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_NON_STR_KEYS
_DERIVED = frozenset({"held", "unattended", "jobs"})
"""Fields that are derived from the others."""
_NAMES: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind) if field.name not in _DERIVED)
    for kind in (State, StageState, AttemptState, WriterState)
}
"""Fields that are cached."""
_OWN = 7
"""Number of parts of an attempt's entry before its stage, job and attempt number."""
_new_entry = tuple.__new__
"""Builds a named tuple in half the time."""
_DOUBTS = (OSError, ValueError, KeyError, TypeError, AttributeError)


class Cached(NamedTuple):
    state: State
    reader: LedgerReader
    """Positioned at the end of the cached state."""
    stamp: str
    """Stamp of the cached commands that belong to it."""


def restore(workspace: Workspace) -> Cached | None:
    """The cached state; None if there is none that fits the journals."""
    try:
        lines = BytesIO(read_private(private_path(workspace, "state")))
        head = orjson.loads(lines.readline())
        reader = LedgerReader(workspace)
        if head["made_of"] != made_of(workspace) or not reader.restore(head["files"]):
            return None
        return Cached(_state(lines), reader, head["stamp"])
    except _DOUBTS:
        return None


def restore_commands(workspace: Workspace, stamp: str) -> list[Entry[Any]] | None:
    """The entries cached with the state of this stamp; None if there are none, or no longer."""
    try:
        data = orjson.loads(read_private(private_path(workspace, "commands")))
        return [_entry(entry) for entry in data["entries"]] if data["stamp"] == stamp else None
    except _DOUBTS:
        return None


def keep(workspace: Workspace, state: State, reader: LedgerReader, commands: Iterable[Entry[Any]]) -> str:
    """Cache the state and the commands, if this node has room."""
    stamp = os.urandom(8).hex()
    beside = {"stamp": stamp, "entries": list(commands)}
    with suppress(OSError):
        head = {"made_of": made_of(workspace), "stamp": stamp, "files": reader.positions()}
        keep_private(private_path(workspace, "commands"), _json(beside))
        keep_private(private_path(workspace, "state"), b"\n".join([_json(head), *_state_lines(state)]))
    return stamp


def history(workspace: Workspace, kinds: tuple[type[Event], ...], stages: Collection[str]) -> list[Entry[Any]]:
    """Like `reading.history`, which reads all journals, but with the last result cached: only what is new is read."""
    reader = LedgerReader(workspace, kinds, stages)
    kept = _restored_history(workspace, _asked(kinds, stages), reader)
    new = [entry for batch in reader.read_new() for entry in batch if isinstance(entry.event, kinds)]
    entries = once((*kept, *new))
    if len(new) >= HISTORY_WORTH_KEEPING:
        keep_history(workspace, Selection(kinds, stages), entries, reader)
    return entries


def keep_history(
    workspace: Workspace, selection: Selection, entries: Sequence[Entry[Any]], reader: LedgerReader
) -> None:
    """Cache a result of `history`, read up to the reader's positions, if it is worth it and this node has room."""
    if HISTORY_WORTH_KEEPING <= len(entries) <= MOST_HISTORY:
        with suppress(OSError):
            head = {"made_of": made_of(workspace, _asked(*selection)), "files": reader.positions()}
            keep_private(private_path(workspace, "history"), b"\n".join(map(_json, (head, entries))))


def _asked(kinds: tuple[type[Event], ...], stages: Collection[str]) -> str:
    from hashlib import sha256  # only reports select events

    return sha256(repr((sorted(kind.kind for kind in kinds), sorted(stages))).encode()).hexdigest()


def _restored_history(workspace: Workspace, asked: str, reader: LedgerReader) -> list[Entry[Any]]:
    """The cached entries, with the reader positioned after them.

    At the slightest doubt, no entries, and the reader at the start.
    """
    try:
        lines = BytesIO(read_private(private_path(workspace, "history")))
        head = orjson.loads(lines.readline())
        if head["made_of"] != made_of(workspace, asked):
            return []
        entries = [_entry(entry) for entry in orjson.loads(lines.read())]
        return entries if reader.restore(head["files"]) else []
    except _DOUBTS:
        return []


def made_of(workspace: Workspace, *more: Any) -> list[Any]:
    """What a cache's values depend on besides files; equal if it may be used. Raises OSError."""
    return [code_version(), str(workspace.root), *more]


def private_path(workspace: Workspace, what: str, slurm_cluster: str | None = None) -> str:
    """Raises OSError if others could have written the file. Each of several Slurm clusters has its own."""
    beside = "" if slurm_cluster is None else f"-{crc32(slurm_cluster.encode()):08x}"
    return private_file(str(workspace.root), f"{what}{beside}.json")


def _plain(value: object) -> Any:
    """Lists without names, which are half as long and read twice as fast."""
    if isinstance(value, set):
        return list(value)
    if isinstance(value, Entry):
        return _parts(value)
    if isinstance(value, Process):
        return tuple(value)
    if isinstance(value, AttemptState):
        return [_own(part) for part in _values(value)]
    if isinstance(value, StageState):
        attempts = list(value.attempts_by_key.values())
        return [attempts if part is value.attempts_by_key else part for part in _values(value)]
    return _values(value)


def _json(value: object) -> bytes:
    return orjson.dumps(value, default=_plain, option=_OPTIONS)


def _values(value: object) -> list[Any]:
    return [getattr(value, name) for name in _NAMES[type(value)]]


def _parts(entry: Entry[Any]) -> list[Any]:
    return [entry.event.kind, entry.event.to_json(), *entry[:4], *entry[5:]]


def _own(part: Any) -> Any:
    """A part of an attempt, its entries without stage, job and number, which are the attempt's."""
    if isinstance(part, Entry):
        return _parts(part)[:_OWN]
    return {name: _own(one) for name, one in part.items()} if isinstance(part, dict) else part


def _entry(data: Sequence[Any], scope: tuple[Any, ...] = ()) -> Entry[Any]:
    """Rebuild an entry unchecked: this same version validated it before caching it. `scope` is what was left out."""
    kind, payload, sequence, writer, wall_s, mono_s, *kept = data
    event = object.__new__(KINDS[kind])
    object.__setattr__(event, "__dict__", payload)
    return _new_entry(Entry, (sequence, writer, wall_s, mono_s, event, *kept, *scope))


def _entries(data: Mapping[str, Any], scope: tuple[Any, ...] = ()) -> dict[str, Entry[Any]]:
    return {name: _entry(entry, scope) for name, entry in data.items()}


def _state_lines(state: State) -> Iterator[bytes]:
    """Everything except the stages, with their number; then the stages in blocks."""
    others = {name: getattr(state, name) for name in _NAMES[State]}
    stages = list(others.pop("stages").values())
    yield _json({**others, "n_stages": len(stages)})
    for start in range(0, len(stages), BLOCK_STAGES):
        yield _json(stages[start : start + BLOCK_STAGES])


def _state(lines: Iterable[bytes]) -> State:
    """Raises ValueError if lines are missing."""
    rest = iter(lines)
    data = orjson.loads(next(rest, b""))
    stages = {stage[0]: _stage(stage) for line in rest for stage in orjson.loads(line)}
    if len(stages) != data["n_stages"]:
        raise ValueError("cut short")
    state = State(
        stages=stages,
        jobs=grouped(
            (attempt.executor, (stage.id, attempt))
            for stage in stages.values()
            for attempt in stage.attempts_by_key.values()
            if attempt.executor is not None
        ),
        writers={name: _writer(writer) for name, writer in data["writers"].items()},
        submitted_s=data["submitted_s"],
        wanted_s=data["wanted_s"],
        cancelled_s=data["cancelled_s"],
        wanted_by=data["wanted_by"],
        expected_s={stage: (at_s, wall_s) for stage, (at_s, wall_s) in data["expected_s"].items()},
        accounts={job: _entries(runs) for job, runs in data["accounts"].items()},
        speeds={key: (at_s, tokens_per_s) for key, (at_s, tokens_per_s) in data["speeds"].items()},
        scores=_entries(data["scores"]),
        first_sent_s=data["first_sent_s"],
        records=data["records"],
        damaged_sources=data["damaged_sources"],
    )
    for job in state.accounts:
        state.settle(job)
    return state


def _writer(data: Sequence[Any]) -> WriterState:
    process, closed, following, ahead = data
    return WriterState(process and Process(*process), closed, following, set(ahead))


def _stage(data: Sequence[Any]) -> StageState:
    stage_id, kept, done, failed, submitted_s, slurm_clusters, cancelled_jobs = data
    attempts = [_attempt(stage_id, attempt) for attempt in kept]
    return StageState(
        stage_id,
        {(attempt.number, attempt.executor or ""): attempt for attempt in attempts},
        {int(number): _entry(entry) for number, entry in done.items()},
        {int(number): _entry(entry) for number, entry in failed.items()},
        submitted_s,
        slurm_clusters,
        set(cancelled_jobs),
    )


def _attempt(stage_id: str, data: Sequence[Any]) -> AttemptState:
    number, executor, *single, energy, readings, seen = data
    scope = (stage_id, executor, number)
    started, ended, diagnosed, first, last, checkpoint = [entry and _entry(entry, scope) for entry in single]
    return AttemptState(
        number,
        executor,
        started,
        ended,
        diagnosed,
        first,
        last,
        checkpoint,
        _entries(energy, scope) if energy else {},
        _entries(readings, scope) if readings else {},
        {writer: (mono_s, wall_s) for writer, (mono_s, wall_s) in seen.items()},
    )
