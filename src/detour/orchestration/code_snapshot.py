"""The code that jobs run, copied at submission, so later edits do not affect queued jobs.

    <workspace>/code/<digest>/src/detour         the package as it was, uncommitted edits included
    <workspace>/code/<digest>/changes.patch      the difference from the commit, if there is one
    <workspace>/code/<digest>/snapshot.json      digest, commit, version, time: read by detour.checkpoints.provenance

Jobs of the same code share one folder, also between users. Which files are code: detour.checkpoints.code_files.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from detour.checkpoints.code_files import CODE_ROOT, code_files
from detour.checkpoints.provenance import PATCH, SNAPSHOT, code_version, uncommitted_changes
from detour.environment import installed
from detour.files import fsync_directory
from detour.ledger.folders import make_folder, refuse_links
from detour.ledger.workspace import Workspace

PACKAGE = Path("src/detour")
DIGEST_LENGTH = 16


class CodeSnapshot(NamedTuple):
    folder: Path
    left_out: tuple[str, ...]
    """Files among the code that are not copied, relative to its root: see detour.checkpoints.code_files."""


def take_code_snapshot(workspace: Workspace, root: Path = CODE_ROOT) -> CodeSnapshot:
    """Copy the code under `root` into the workspace, unless the same code is there already."""
    files, left_out = code_files(root)
    digest = _digest(files)
    folder = workspace.root / "code" / digest
    snapshot = CodeSnapshot(folder, left_out)
    refuse_links(workspace.root, folder)
    if (folder / SNAPSHOT).exists():
        return snapshot
    make_folder(workspace.root, folder.parent)
    unfinished = folder.with_name(f".{digest}.{secrets.token_hex(8)}")
    unfinished.mkdir()
    try:
        for place, file in files.items():
            target = unfinished / PACKAGE / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        if changes := uncommitted_changes(root):
            (unfinished / PATCH).write_bytes(changes)
        record = {**code_version(root), "version": installed("detour"), "digest": digest, "taken_s": time.time()}
        (unfinished / SNAPSHOT).write_text(json.dumps(record, indent=1))
        unfinished.rename(folder)
    except OSError:
        shutil.rmtree(unfinished)
        if not (folder / SNAPSHOT).exists():  # otherwise another process has made the same snapshot
            raise
    fsync_directory(folder.parent)
    return snapshot


def planned_snapshot(workspace: Workspace) -> Path:
    """The folder of the snapshot that a submission would take now."""
    return workspace.root / "code" / _digest(code_files(CODE_ROOT)[0])


def python_path(code: Path) -> str:
    """The value of PYTHONPATH with which a job runs the snapshot."""
    return str(code / "src")


def _digest(files: Mapping[Path, Path]) -> str:
    digest = hashlib.sha256()
    for place, file in files.items():
        content = file.read_bytes()
        digest.update(f"{(PACKAGE / place).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:DIGEST_LENGTH]
