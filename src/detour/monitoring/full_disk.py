"""Signs of life that need no room on the disk.

On a full disk or over a quota, journals take no events, so a job that waits for room would look dead. It keeps
refreshing its claim, which changes only a time.
"""

from __future__ import annotations

import os
from pathlib import Path

from detour.ledger.events import HEARTBEAT_S
from detour.ledger.reading import journal_paths
from detour.ledger.stages import StageState
from detour.ledger.workspace import Workspace
from detour.text import format_duration

SILENT_S = 3 * HEARTBEAT_S
"""A running job that was silent for longer, in seconds, has lost contact."""
ALMOST_NOTHING_BYTES = 64 * 1024
"""Less than the reserve of one journal."""
NEXT_STEP = "free some space: it then continues; without room it fails after 15 minutes"


def disk_is_full(workspace: Workspace) -> bool:
    """Whether the disk has no room or takes no more files. A user's quota is not visible here."""
    try:
        disk = os.statvfs(workspace.root)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < ALMOST_NOTHING_BYTES or (disk.f_files > 0 and disk.f_favail == 0)


def silent_s(workspace: Workspace, known: StageState, now_s: float) -> float | None:
    """Seconds for which the last attempt's journal has been silent while its claim shows that its owner is alive.

    None if the journal is not silent, the owner is silent too, or the attempt has ended. Of the journal too, the file's
    time decides: the node's own clock, in the records, may be behind.
    """
    last = known.last_attempt
    if last is None or last.ended is not None or now_s - (last.last_seen_s or 0.0) <= SILENT_S:
        return None
    signed_s = _written_s(f"{workspace.root}/claims/{known.id}.json")
    if now_s - signed_s > SILENT_S:
        return None
    journals = (path for path in journal_paths(workspace) if Path(path).stem in last.seen)
    written_s = max(map(_written_s, journals), default=0.0) or last.last_seen_s or 0.0
    return now_s - written_s if signed_s - written_s > SILENT_S else None


def _written_s(path: str) -> float:
    """When a file was last written, by the clock that stamps files; 0 if that cannot be read."""
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except OSError:
        return 0.0


def waits_in_words(waited_s: float, *, is_full: bool) -> str:
    """Describes a job that refreshes its claim and whose journal has been silent for `waited_s`."""
    since = format_duration(waited_s)
    if is_full:
        return f"the disk is full, and it has waited for room for {since}"
    return f"it is alive, and its journal has taken nothing for {since}: a quota may be used up"


def awaited_room(workspace: Workspace, known: StageState, now_s: float) -> str | None:
    """What a running stage waits for, and what to do; None unless its journal is silent and its owner alive."""
    waited_s = silent_s(workspace, known, now_s)
    if waited_s is None:
        return None
    return f"{waits_in_words(waited_s, is_full=disk_is_full(workspace))}; {NEXT_STEP}"
