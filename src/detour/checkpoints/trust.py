"""Access checks for training states of earlier versions: pickles are read only if no one else can have written them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

from detour.errors import UserError
from detour.text import pasted

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def open_private(path: Path) -> IO[bytes]:
    """Open a file that this user or root owns and no one else may write to. Raises UserError for any other.

    The open file is checked, so it is the one that is read. The directory does not matter: others who may write there
    can replace our file by one of their own, but not by one that belongs to us.
    """
    file = path.open("rb")
    status = os.fstat(file.fileno())
    reason = None
    if status.st_uid not in (os.geteuid(), 0):
        reason = f"it belongs to user {status.st_uid}: only the user who trained may resume from it or promote it"
    elif status.st_mode & WRITABLE_BY_OTHERS:
        reason = (
            f"others may write to it: make sure that it is yours, then `{pasted('chmod', 'go-w', '--', str(path))}`"
        )
    if reason:
        file.close()
        raise UserError(f"{path}: this training state is not read, because {reason}")
    return file


def deny_others_writing(path: Path) -> None:
    """Revoke the write permission of group and others that a permissive umask granted."""
    path.chmod(path.stat().st_mode & ~WRITABLE_BY_OTHERS)
