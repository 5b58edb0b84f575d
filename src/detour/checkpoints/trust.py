"""Whether a file may be unpickled: only when nobody but its owner could have written it, and we are that owner.

A pickle runs code. The state of one's own training in one's own workspace is trusted; a file that a stranger or a
group may have replaced is not, however well its digest holds.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from detour.errors import UserError

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OPEN_TO_OTHERS = stat.S_IXGRP | stat.S_IXOTH


def require_private(path: Path) -> None:
    """Raises UserError when someone other than this user (or root) may have written `path`."""
    path = path.resolve()
    owner = path.stat().st_uid
    if owner not in (os.geteuid(), 0):
        raise UserError(
            f"{path}: belongs to user {owner}, not to you; a training state is only read by the user who wrote it"
        )
    if (place := _changeable_by_others(path)) is not None:
        raise UserError(
            f"{path}: others may write to {place}, so the training state in it is not read; run `chmod go-w {place}`"
        )


def _changeable_by_others(path: Path) -> Path | None:
    """The nearest of `path` and its directories that others may write to and can reach.

    Looks up as far as the directories are our own or root's file lies in them: above that the site decides. A
    directory that is closed to others protects all that is below it; the sticky bit protects what is ours.
    """
    found = None
    for place in (path, *path.parents):
        status = place.stat()
        is_directory = stat.S_ISDIR(status.st_mode)
        if is_directory and status.st_uid != os.geteuid():
            break
        if is_directory and not status.st_mode & OPEN_TO_OTHERS:
            return None
        sticky = is_directory and status.st_mode & stat.S_ISVTX
        if found is None and status.st_mode & WRITABLE_BY_OTHERS and not sticky:
            found = place
    return found
