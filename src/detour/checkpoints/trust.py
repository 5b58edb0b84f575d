"""Earlier training states are pickles, and a pickle is read only where only its reader can have written it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from detour.errors import UserError

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def open_private(path: Path) -> IO[bytes]:
    """Open a file that this user or root owns and no one else may write to; raises UserError at any other.

    Asked of the open file, so that what is checked is what is read. The directory need not be looked at: who may
    write there can put a file of their own in place of ours, but not one that belongs to us.
    """
    file = path.open("rb")
    status = os.fstat(file.fileno())
    reason = None
    if status.st_uid not in (os.geteuid(), 0):
        reason = f"it belongs to user {status.st_uid}: only the user who trained may resume from it or promote it"
    elif status.st_mode & WRITABLE_BY_OTHERS:
        reason = f"others may write to it: make sure that it is yours, then `chmod go-w {path}`"
    if reason:
        file.close()
        raise UserError(f"{path}: this training state is not read, because {reason}")
    return file


def deny_others_writing(path: Path) -> None:
    """Take from group and others the right to write that a generous umask gave them."""
    path.chmod(path.stat().st_mode & ~WRITABLE_BY_OTHERS)
