"""The folded state kept between commands, so that `detour status` of a large ledger answers at once.

Only a cache: on this node, private, tied to the very files it was folded from, and dropped at the least doubt (a file
gone, replaced or shortened, another version). It is never the truth and may be deleted at any time.

<temporary folder>/detour-cache-<uid>/<crc32 of the workspace>.state.json
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson

from detour.ledger.process import Process
from detour.ledger.reading import LedgerReader
from detour.ledger.stages import AttemptState, ChainState, Mark, StageState, WriterState
from detour.ledger.state import State
from detour.ledger.workspace import Workspace

FORMAT = 1
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_NON_STR_KEYS
WORTH_KEEPING = 2_000
"""New records since the last save, beyond which folding them again would be felt."""


def load_cached(workspace: Workspace) -> tuple[State, LedgerReader]:
    """The present state and its reader, from the cache as far as it holds; saved again when much was new."""
    state, reader = _restored(workspace) or (State(), LedgerReader(workspace))
    known = state.records
    state.refresh(reader)
    if state.records - known >= WORTH_KEEPING:
        _save(workspace, state, reader)
    return state, reader


def private_path(workspace: Workspace, what: str) -> Path:
    """Where this user keeps, on this node, what can be had again. Raises OSError when others could have written it."""
    folder = Path(f"{os.environ.get('TMPDIR') or '/tmp'}/detour-cache-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise OSError(f"{folder} is not private")
    return folder / f"{crc32(str(workspace.root).encode()):08x}.{what}.json"


def keep_private(path: Path, content: bytes) -> None:
    """Whole or not at all; a node without space for a cache does without."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        unfinished.write_bytes(content)
        unfinished.replace(path)


def _restored(workspace: Workspace) -> tuple[State, LedgerReader] | None:
    try:
        data = orjson.loads(private_path(workspace, "state").read_bytes())
        if data["format"] != FORMAT or data["workspace"] != str(workspace.root):
            return None
        reader = LedgerReader(workspace)
        return (_state(data["state"]), reader) if reader.restore(data["files"]) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _save(workspace: Workspace, state: State, reader: LedgerReader) -> None:
    files = reader.positions()
    if files is None:
        return
    content = {"format": FORMAT, "workspace": str(workspace.root), "files": files, "state": state}
    with suppress(OSError):
        keep_private(private_path(workspace, "state"), orjson.dumps(content, default=_plain, option=_OPTIONS))


def _plain(value: object) -> Any:
    if isinstance(value, set):
        return list(value)
    if isinstance(value, Mark | Process):
        return tuple(value)
    if isinstance(value, StageState):
        return {**_fields(value), "attempts_by_key": list(value.attempts_by_key.values())}
    return _fields(value)


def _fields(value: object) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]


def _mark(data: Any) -> Mark | None:
    return None if data is None else Mark(*data)


def _marks(data: Mapping[str, Any]) -> dict[str, Mark]:
    return {name: Mark(*mark) for name, mark in data.items()}


def _state(data: Mapping[str, Any]) -> State:
    return State(
        chains={name: _chain(chain) for name, chain in data["chains"].items()},
        stages={name: _stage(stage) for name, stage in data["stages"].items()},
        writers={name: _writer(writer) for name, writer in data["writers"].items()},
        records=data["records"],
        foreign=data["foreign"],
        damaged_sources=data["damaged_sources"],
    )


def _writer(data: Mapping[str, Any]) -> WriterState:
    process = data["process"]
    return WriterState(process and Process(*process), data["closed"], data["next"], set(data["ahead"]))


def _chain(data: Mapping[str, Any]) -> ChainState:
    return ChainState(data["name"], {kind: _marks(marks) for kind, marks in data["told"].items()})


def _stage(data: Mapping[str, Any]) -> StageState:
    attempts = [_attempt(attempt) for attempt in data["attempts_by_key"]]
    return StageState(
        id=data["id"],
        planned_by=_marks(data["planned_by"]),
        attempts_by_key={(attempt.number, attempt.job or ""): attempt for attempt in attempts},
        done={int(number): Mark(*mark) for number, mark in data["done"].items()},
        failed={int(number): Mark(*mark) for number, mark in data["failed"].items()},
        submitted_jobs=set(data["submitted_jobs"]),
        cancelled_jobs=set(data["cancelled_jobs"]),
    )


def _attempt(data: Mapping[str, Any]) -> AttemptState:
    return AttemptState(
        number=data["number"],
        job=data["job"],
        started=_mark(data["started"]),
        ended=_mark(data["ended"]),
        first_progress=_mark(data["first_progress"]),
        progress=_mark(data["progress"]),
        checkpoint=_mark(data["checkpoint"]),
        energy=_marks(data["energy"]),
        seen={writer: (mono_s, wall_s) for writer, (mono_s, wall_s) in data["seen"].items()},
    )
