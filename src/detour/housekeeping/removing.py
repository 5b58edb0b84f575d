"""Removal that is safe to kill at any instant: renamed into the trash folder, then deleted.

After a kill, the next `find` finds what is left in the trash folder.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from detour.files import fsync_directory
from detour.housekeeping.finding import TRASH, Removable
from detour.ledger.folders import make_folder, refuse_links
from detour.ledger.workspace import Workspace


def remove(workspace: Workspace, found: Removable) -> None:
    """Raises OSError if the file system refuses, UserError if a folder on the way is a link."""
    trash = workspace.root / TRASH
    doomed = found.path
    refuse_links(workspace.root, doomed.parent)
    if doomed.parent != trash:
        make_folder(workspace.root, trash)
        doomed = trash / f"{secrets.token_hex(8)}-{found.path.name}"
        found.path.rename(doomed)
        fsync_directory(found.path.parent)
    _delete(doomed)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
