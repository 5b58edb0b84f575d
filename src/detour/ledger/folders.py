"""What is made in a workspace is private, or its group's: as the mode of the workspace itself says. And durable."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from detour.errors import UserError
from detour.files import fsync_directory


@contextmanager
def workspace_umask(root: Path) -> Iterator[None]:
    """While it lasts, what this process and its children create can be read by the group if the workspace can.

    The umask, because most of it is created by others: libraries, Slurm (which takes it over at submission), loggers.
    A file is its group's from its first instant on, so that no member meets one that is unreadable. No one else may
    write to it, and nothing is ever for strangers. Folders to write in are the group's by `make_folder`.
    """
    try:
        group = stat.S_IMODE(root.stat().st_mode) & 0o050
    except FileNotFoundError:
        group = 0
    previous = os.umask(0o077 & ~group)
    try:
        yield
    finally:
        os.umask(previous)


def let_group_read(root: Path, folder: Path) -> None:
    """What lies in `folder` and is this user's becomes the group's as far as the workspace is: files to read, folders
    to write in. Libraries make both as they like: safetensors writes 0600 whatever the umask.

    No one gains the right to write to a file, for training states that others can write to are refused.
    """
    group, user = stat.S_IMODE(root.stat().st_mode) & 0o070, os.geteuid()
    for path in folder.rglob("*"):
        status = path.lstat()
        wanted = status.st_mode | group & (0o070 if stat.S_ISDIR(status.st_mode) else 0o040)
        if wanted != status.st_mode and status.st_uid == user and not stat.S_ISLNK(status.st_mode):
            path.chmod(stat.S_IMODE(wanted))


def ledger_mode(root: Path) -> int:
    """0600, and for its group to read if it may read the workspace."""
    return 0o600 | stat.S_IMODE(root.stat().st_mode) & 0o040


def make_folder(root: Path, folder: Path) -> None:
    """Create `folder` inside the workspace, and the workspace, durably; its group may what it may in the workspace.

    Raises UserError where a link stands in its place, or in a parent's.
    """
    refuse_links(root, folder)
    if folder.is_dir():
        return
    if folder == root:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    make_folder(root, folder.parent)
    group = stat.S_IMODE(root.stat().st_mode) & 0o2070
    with suppress(FileExistsError):  # another process made it just now, and sets its mode
        folder.mkdir(mode=0o700 | group)
        folder.chmod(0o700 | group)
        fsync_directory(folder.parent)


def refuse_links(root: Path, folder: Path) -> None:
    """Raises UserError where a part of `folder` below the workspace is a link: who may write in a group's workspace
    could lead another's commands and jobs to write and delete elsewhere. The workspace itself may be a link.
    """
    for part in (folder, *folder.parents):
        if part == root:
            return
        if part.is_symlink():
            raise UserError(f"{part}: a link, where the workspace has a folder of its own; put the folder in its place")


def month_folder(root: Path, ledger: Path) -> Path:
    """`<yyyy-mm>` of the present month (UTC) in the ledger."""
    folder = ledger / time.strftime("%Y-%m", time.gmtime())
    make_folder(root, folder)
    return folder
