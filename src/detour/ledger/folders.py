"""What is made in a workspace is private, or its group's: as the mode of the workspace itself says. And durable."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from detour.files import fsync_directory


@contextmanager
def workspace_umask(root: Path) -> Iterator[None]:
    """While it lasts, what this process and its children create is the group's as far as the workspace is.

    The umask, because most of it is created by others: libraries, Slurm (which takes it over at submission), loggers.
    A file is its group's from its first instant on, so that nobody meets one that he cannot read yet. Nothing is ever
    for strangers.
    """
    try:
        group = stat.S_IMODE(root.stat().st_mode) & 0o070
    except FileNotFoundError:
        group = 0
    previous = os.umask(0o077 & ~group)
    try:
        yield
    finally:
        os.umask(previous)


def let_group_read(root: Path, folder: Path) -> None:
    """What lies in `folder` can be read by the group if the workspace can: safetensors writes 0600 whatever the umask.

    Nobody gains the right to write to a file, for training states that others can write to are refused.
    """
    group = stat.S_IMODE(root.stat().st_mode) & 0o070
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        wanted = mode | group & (0o070 if stat.S_ISDIR(mode) else 0o040)
        if wanted != mode and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(wanted))


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
