"""Reading journals the plain way, to check what was written without the code under test."""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

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
