"""Making the workspace's folders: private, or its group's, and durable."""

from __future__ import annotations

import stat
import time
from contextlib import suppress
from pathlib import Path

from detour.files import fsync_directory


def ledger_mode(root: Path) -> int:
    """0600, plus what the workspace's own mode grants its group."""
    return 0o600 | stat.S_IMODE(root.stat().st_mode) & 0o060


def make_folder(root: Path, folder: Path) -> None:
    """Create `folder` inside the workspace, and the workspace, durably; its group may what it may in the workspace."""
    if folder.is_dir():
        return
    if folder == root:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    make_folder(root, folder.parent)
    group = stat.S_IMODE(root.stat().st_mode) & 0o2070
    with suppress(FileExistsError):  # somebody else made it just now, and sets its mode
        folder.mkdir(mode=0o700 | group)
        folder.chmod(0o700 | group)
        fsync_directory(folder.parent)


def month_folder(root: Path, ledger: Path) -> Path:
    """`<yyyy-mm>` of the present month (UTC) in the ledger."""
    folder = ledger / time.strftime("%Y-%m", time.gmtime())
    make_folder(root, folder)
    return folder
