"""What a folder takes of the disk, in bytes and inodes as `du` counts them, and whether this user may remove it all."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

BLOCK_BYTES = 512
"""Unit of `st_blocks`, whatever the file system's."""


class Extent(NamedTuple):
    size_bytes: int
    """On the disk: of a sparse file only what it takes, of a file with several names each once."""
    inodes: int
    blocked: str | None
    """Why this user cannot remove all of it; None if they can."""


def measure(path: Path) -> Extent:
    """Measure a file, a link (not its target) or a folder with its contents. Raises OSError if it is gone."""
    status = path.lstat()
    if not path.is_dir() or path.is_symlink():
        return Extent(status.st_blocks * BLOCK_BYTES, 1, _kept_by_parent(path))
    blocks, blocked = {(status.st_dev, status.st_ino): status.st_blocks}, _kept_by_parent(path)
    for folder, folders, files in os.walk(path, onerror=_ignored):
        blocked = blocked or _closed(Path(folder))
        for name in (*folders, *files):
            with suppress(OSError):  # gone by now, or in a closed folder
                one = os.lstat(os.path.join(folder, name))  # noqa: PTH118  millions of files
                blocks[one.st_dev, one.st_ino] = one.st_blocks
    return Extent(sum(blocks.values()) * BLOCK_BYTES, len(blocks), blocked)


def _ignored(_error: OSError) -> None:
    """Ignored: the walk of its parent reports a folder that cannot be listed as closed."""


def _kept_by_parent(path: Path) -> str | None:
    """Why the parent prevents a rename: it needs write permission and, if the parent is sticky, the entry's owner."""
    if closed := _closed(path.parent):
        return closed
    owner, sticky = path.lstat().st_uid, path.parent.stat().st_mode & 0o1000
    return _owned_by(owner) if sticky and owner != os.getuid() != 0 else None


def _closed(folder: Path) -> str | None:
    if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return None
    return _owned_by(folder.lstat().st_uid)


def _owned_by(uid: int) -> str:
    if uid == os.getuid():
        return "closed to writing"
    try:
        return f"belongs to {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"belongs to user {uid}"
