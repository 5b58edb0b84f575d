"""Durable folders and files in a workspace, private or readable by its group, as the workspace's own mode says."""

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
    """Let the group read what this process and its children create, if the group may read the workspace.

    Done by the umask, because most files are created by others: libraries, Slurm (which takes it over at submission),
    loggers. A file is readable by its group from the start, so no member finds it unreadable. No one else may write to
    it, and strangers have no access. `make_folder` creates folders the group may write in.
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
    """Give the group access to this user's files in `folder`, as far as it has access to the workspace.

    The group may read files and write in folders. Libraries set their own modes: safetensors writes 0600 whatever the
    umask. No one gains the right to write to a file, because training states that others can write to are refused.
    """
    group, user = stat.S_IMODE(root.stat().st_mode) & 0o070, os.geteuid()
    for path in folder.rglob("*"):
        status = path.lstat()
        wanted = status.st_mode | group & (0o070 if stat.S_ISDIR(status.st_mode) else 0o040)
        if wanted != status.st_mode and status.st_uid == user and not stat.S_ISLNK(status.st_mode):
            path.chmod(stat.S_IMODE(wanted))


def ledger_mode(root: Path) -> int:
    """0600, plus read permission for the group if it may read the workspace."""
    return 0o600 | stat.S_IMODE(root.stat().st_mode) & 0o040


def make_folder(root: Path, folder: Path, *, sync: bool = True) -> None:
    """Create `folder` inside the workspace, and the workspace, with the group permissions of the workspace.

    Durably, unless the caller syncs many folders at once. Raises UserError if it or a parent is a link.
    """
    refuse_links(root, folder)
    if folder.is_dir():
        return
    if folder == root:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    make_folder(root, folder.parent)
    group = stat.S_IMODE(root.stat().st_mode) & 0o2070
    with suppress(FileExistsError):  # another process created it just now, and sets its mode
        folder.mkdir(mode=0o700 | group)
        folder.chmod(0o700 | group)
        if sync:
            fsync_directory(folder.parent)


def refuse_links(root: Path, folder: Path) -> None:
    """Raises UserError if a part of `folder` below the workspace is a link.

    A member of the group could otherwise make another's commands and jobs write and delete elsewhere. The workspace
    itself may be a link.
    """
    for part in (folder, *folder.parents):
        if part == root:
            return
        if part.is_symlink():
            raise UserError(f"{part}: a link instead of the workspace's own folder; replace it with the folder")


def month_folder(root: Path, ledger: Path) -> Path:
    """The ledger's folder `<yyyy-mm>` for the present month (UTC)."""
    folder = ledger / time.strftime("%Y-%m", time.gmtime())
    make_folder(root, folder)
    return folder
