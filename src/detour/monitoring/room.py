"""Signs of life that need no room: on a full disk, or over a quota, no journal takes any, and a job that waits for room
would look dead. It refreshes its claim all the while, which changes a time alone.
"""

from __future__ import annotations

import os

from detour.ledger.stages import StageState
from detour.ledger.workspace import Workspace
from detour.text import format_duration

SILENT_S = 30.0
"""Three heartbeats of a job: one that runs and was silent for longer has lost contact."""
ALMOST_NOTHING_BYTES = 64 * 1024
"""Less than the reserve of one journal."""
NEXT_STEP = "free some space: it goes on by itself, and ends after 15 minutes without room"


def disk_is_full(workspace: Workspace) -> bool:
    """Whether the disk has no room, or takes no file. Of a user's quota the system says nothing here."""
    try:
        disk = os.statvfs(workspace.root)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < ALMOST_NOTHING_BYTES or (disk.f_files > 0 and disk.f_favail == 0)


def silent_s(workspace: Workspace, known: StageState, now_s: float) -> float | None:
    """For how long the journal of its last attempt has said nothing while its owner lived, by its claim; None where the
    journal is not silent, the owner is too, or the attempt has ended.
    """
    last = known.attempts[-1] if known.attempts else None
    if last is None or last.ended is not None or now_s - (last.last_seen_s or 0.0) <= SILENT_S:
        return None
    try:
        signed_s = os.stat(f"{workspace.root}/claims/{known.id}.json").st_mtime  # noqa: PTH116
    except OSError:
        return None
    return now_s - (last.last_seen_s or 0.0) if now_s - signed_s <= SILENT_S else None


def waits_in_words(waited_s: float, *, is_full: bool) -> str:
    """Of a job that refreshes its claim, and whose journal has been silent for so long."""
    since = format_duration(waited_s)
    if is_full:
        return f"the disk is full, and it has waited for room for {since}"
    return f"it is alive, and its journal has taken nothing for {since}: a quota may be used up"


def awaited_room(workspace: Workspace, known: StageState | None, now_s: float) -> str | None:
    """What a stage that runs waits for, and what a person does; None where its journal is not silent, or it is."""
    waited_s = None if known is None else silent_s(workspace, known, now_s)
    if waited_s is None:
        return None
    return f"{waits_in_words(waited_s, is_full=disk_is_full(workspace))}; {NEXT_STEP}"
