"""Removal that a kill at any instant leaves harmless: out of sight by one rename, then deleted.

What a kill leaves in the trash folder is found there by the next `find`.
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
    """Raises OSError where the file system refuses, UserError where a link stands in place of a folder on the way."""
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
