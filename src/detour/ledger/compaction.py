"""Fewer files: merge the journals of a past month into one segment, with every record readable at any instant.

The segment is written aside and synced, then renamed, the directory synced, and the sources deleted. A crash in between
leaves records twice, or an unfinished file that is never read; both are harmless, and the next compaction removes them.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from detour.files import atomic_writer, fsync_directory
from detour.ledger.claims import ClaimHeld, claim
from detour.ledger.events import JournalClosed, JournalsCompacted
from detour.ledger.folders import ledger_mode, refuse_links
from detour.ledger.lines import Parsed, decode, parse
from detour.ledger.record import encode, entry_of, make_record
from detour.ledger.workspace import Workspace

IDLE_S = 3 * 86400.0
"""Seconds without a write after which an open journal has lost its writer: live ones write every 30 s."""
MANY = 32
"""Journals in a month from which compaction is worthwhile."""
_MONTH = re.compile(r"\d{4}-\d{2}")


@dataclass(frozen=True, slots=True)
class Compacted:
    month: str
    journals: int
    kept: int
    """Journals left alone because their writers may still be alive or because they are another user's."""
    records: int
    bad_lines: int


def tidy(workspace: Workspace) -> None:
    """Compact past months with many journals, for commands that write. A later command retries what fails."""
    with suppress(OSError):
        compact(workspace, fewest=MANY)


def compact(
    workspace: Workspace, *, idle_s: float = IDLE_S, now_s: float | None = None, fewest: int = 2
) -> list[Compacted]:
    """Compact every month before the present one with at least `fewest` journals.

    Months that another process is compacting are left to it.
    """
    now_s = time.time() if now_s is None else now_s
    present = time.strftime("%Y-%m", time.gmtime(now_s))
    done = []
    refuse_links(workspace.root, workspace.ledger)
    for folder in sorted(workspace.ledger.iterdir()):
        is_past = (
            _MONTH.fullmatch(folder.name) and folder.name < present and folder.is_dir() and not folder.is_symlink()
        )
        if not is_past or sum(1 for _ in folder.glob("*.jsonl")) < fewest:
            continue
        with suppress(ClaimHeld), claim(workspace, f"compact-{folder.name}", "compaction"):
            compacted = _compact_month(workspace, folder, now_s - idle_s)
            if compacted:
                done.append(compacted)
    return done


def _compact_month(workspace: Workspace, folder: Path, idle_since_s: float) -> Compacted | None:
    _clear_leftovers(folder, idle_since_s)
    sources, kept = [], 0
    for path in sorted(folder.glob("*.jsonl")):
        if _is_finished(path, idle_since_s):
            sources.append(path)
        else:
            kept += 1
    if len(sources) < 2:
        return None
    # Sources are parsed one at a time and appended, so that a month larger than memory can be compacted.
    writer = f"segment-{secrets.token_hex(6)}"
    segment = folder / f"{writer}.jsonl"
    count = bad_lines = 0
    with atomic_writer(segment) as file:
        for path in sources:
            parsed = parse(path.read_bytes() + b"\n")
            file.writelines(b"%08x %b\n" % (crc32(payload), payload) for payload in parsed.payloads)
            count += len(parsed.payloads)
            bad_lines += parsed.bad_lines
        file.write(_header(writer, sources, bad_lines))
        os.fchmod(file.fileno(), ledger_mode(workspace.root))
    for path in sources:
        path.unlink()
    fsync_directory(folder)
    return Compacted(folder.name, len(sources), kept, count, bad_lines)


def _header(writer: str, sources: Iterable[Path], bad_lines: int) -> bytes:
    """What the deleted sources can no longer show. Bad lines of source segments are in those segments' own headers."""
    event = JournalsCompacted(bad_lines=bad_lines, journals=[path.name for path in sources])
    return encode(make_record(event, writer=writer, sequence=0))


def _is_finished(path: Path, idle_since_s: float) -> bool:
    """Whether nothing more will be appended: segments, closed journals, and those not written for long.

    Never another user's journal: if the folder forbids deleting it, each attempt would write its records again.
    """
    if path.stat().st_uid != os.geteuid():
        return False
    if path.stem.startswith("segment-") or path.stat().st_mtime < idle_since_s:
        return True
    return _is_closed(parse(path.read_bytes()))


def _is_closed(journal: Parsed) -> bool:
    last = [entry_of(value) for value in decode(journal.payloads[-1:])]
    return any(entry is not None and isinstance(entry.event, JournalClosed) for entry in last)


def _clear_leftovers(folder: Path, idle_since_s: float) -> None:
    """Delete reserves of killed writers and unfinished segments."""
    for path in (*folder.glob(".*.reserve"), *folder.glob(".*.tmp")):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < idle_since_s:
                path.unlink()
