"""The code that jobs run, copied at submission: what is edited later changes nothing that is queued.

    <workspace>/code/<digest>/src/detour                 the package as it was, uncommitted edits included
    <workspace>/code/<digest>/changes.patch              what differs from the commit, if anything does
    <workspace>/code/<digest>/snapshot.json              digest, commit, time: read by detour.checkpoints.provenance

Jobs of the same code share one folder, whoever submitted them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from pathlib import Path

from detour.checkpoints.provenance import CODE_ROOT, SNAPSHOT, code_version, uncommitted_changes
from detour.files import fsync_directory
from detour.ledger.workspace import Workspace

PACKAGE = Path("src/detour")
LEFT_OUT = ("__pycache__", "configs")
DIGEST_LENGTH = 16


def take_code_snapshot(workspace: Workspace, root: Path = CODE_ROOT) -> Path:
    """The folder that holds the code under `root` as it is now; made once for the same content."""
    files = _code_files(root)
    digest = _digest(root, files)
    folder = workspace.root / "code" / digest
    if (folder / SNAPSHOT).exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{digest}.{secrets.token_hex(8)}")
    unfinished.mkdir()
    try:
        for file in files:
            target = unfinished / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, target)
        if changes := uncommitted_changes(root):
            (unfinished / "changes.patch").write_bytes(changes)
        record = {**code_version(root), "digest": digest, "taken_s": time.time()}
        (unfinished / SNAPSHOT).write_text(json.dumps(record, indent=1))
        unfinished.rename(folder)
    except OSError:
        shutil.rmtree(unfinished)
        if not (folder / SNAPSHOT).exists():  # else somebody made the same one meanwhile
            raise
    fsync_directory(folder.parent)
    return folder


def python_path(code: Path) -> str:
    """What PYTHONPATH must hold for a job to run the snapshot."""
    return str(code / "src")


def _code_files(root: Path) -> list[Path]:
    """Relative to `root`; the two doors, which stand beside the package in a checkout, as parts of it."""
    found = []
    for folder, folders, names in os.walk(root / PACKAGE, followlinks=True):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        found += [(Path(folder) / name).relative_to(root) for name in names]
    return sorted(found)


def _digest(root: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        content = (root / file).read_bytes()
        digest.update(f"{file.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:DIGEST_LENGTH]
