"""The simplest way to read journals, to check them without the code under test and without a cache."""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

from detour.ledger.reading import LedgerReader
from detour.ledger.state import State
from detour.ledger.workspace import Workspace


def journal_files(workspace: Workspace) -> list[Path]:
    return sorted(workspace.ledger.glob("*/*.jsonl"))


def read_lines(path: Path) -> list[dict[str, Any]]:
    records = []
    for line in path.read_bytes().splitlines():
        checksum, payload = line.split(b" ", 1)
        assert int(checksum, 16) == crc32(payload)
        records.append(json.loads(payload))
    return records


def all_records(workspace: Workspace) -> list[dict[str, Any]]:
    return [record for path in journal_files(workspace) for record in read_lines(path)]


def load_state(workspace: Workspace) -> tuple[State, LedgerReader]:
    """Return the present state, folded from the start, and the reader that keeps it up to date."""
    state, reader = State(), LedgerReader(workspace)
    refresh(state, reader)
    return state, reader


def refresh(state: State, reader: LedgerReader) -> None:
    for batch in reader.read_new():
        state.add(batch)
