"""Where records wait if the shared file system takes none: a private folder on this node, imported later.

<temporary folder>/detour-spool-<uid>/<workspace's id>-<crc32 of its path>/
  root                    a link to it, which distinguishes a copy from the workspace under another mount
  <writer>.<n>.jsonl

The id, because a workspace may be moved or seen under several paths. Earlier versions used only the crc32. Of several
temporary folders, the first that takes the records is used, and all are looked into later: which one is full changes.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO
from zlib import crc32

from detour.errors import UserError
from detour.files import fsync_directory
from detour.ledger.appendfile import AppendFile
from detour.ledger.folders import ledger_mode, month_folder
from detour.ledger.identity import is_same_folder, workspace_id
from detour.ledger.workspace import Workspace

TEMPORARY_FOLDERS = ("/tmp", "/var/tmp")
"""After $TMPDIR."""
ROOT = "root"
UNKNOWN = "unknown"
"""Used in place of an id that could not be read."""


def spool_name(workspace: Workspace) -> str:
    """The name of this user's folder for this workspace. Get it early: later the workspace may not respond."""
    return f"{_id(workspace)}-{_crc(workspace)}"


def spool(workspace: Workspace, name: str, writer: str, lines: Sequence[bytes]) -> Path:
    """Store `lines` under the workspace's `spool_name`. Raises OSError if this node does not take them either."""
    *others, last = _temporary_folders()
    for folder in others:
        with suppress(OSError):
            return _store(workspace, folder, name, writer, lines)
    return _store(workspace, last, name, writer, lines)


def _store(workspace: Workspace, temporary: Path, name: str, writer: str, lines: Sequence[bytes]) -> Path:
    base = temporary / _prefix()
    if not _is_private(base, create=True):
        base = Path(tempfile.mkdtemp(prefix=f"{base.name}-", dir=temporary))
    folder = base / name
    folder.mkdir(mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        (folder / ROOT).symlink_to(workspace.root)
    for number in count():
        path = folder / f"{writer}.{number}.jsonl"
        with suppress(BlockingIOError), _locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
            break
    return path


def import_spool(workspace: Workspace) -> int:
    """Import the records stored on this node into the ledger; returns the number of files imported.

    Records keep their writer and sequence, so a second import, or a crash between writing and deleting, adds nothing.
    Raises OSError while the ledger still cannot be written.
    """
    sources = sorted(path for one in _folders(workspace) for path in one.glob("*.jsonl"))
    for source in sources:
        with suppress(FileNotFoundError, BlockingIOError), _locked(source, os.O_RDWR) as file:
            _bring_in(workspace, source.stem, file.read())
            source.unlink()
    return len(sources)


def _temporary_folders() -> list[Path]:
    return [Path(folder) for folder in (os.environ.get("TMPDIR"), *TEMPORARY_FOLDERS) if folder]


def _prefix() -> str:
    return f"detour-spool-{os.getuid()}"


def _crc(workspace: Workspace) -> str:
    return f"{crc32(str(workspace.root).encode()):08x}"


def _id(workspace: Workspace) -> str:
    try:
        return workspace_id(workspace.root)
    except (OSError, UserError):  # callers that need the id report this; here a record is at stake
        return UNKNOWN


def _folders(workspace: Workspace) -> list[Path]:
    crc, workspace_id = _crc(workspace), _id(workspace)
    bases = {base for folder in _temporary_folders() for base in folder.glob(f"{_prefix()}*")}
    found = [
        folder
        for base in bases
        if _is_private(base, create=False)
        for folder in {base / crc, base / f"{UNKNOWN}-{crc}", *base.glob(f"{workspace_id}-*")}
    ]
    return [folder for folder in found if folder.is_dir() and _is_of(workspace, folder)]


def _is_of(workspace: Workspace, folder: Path) -> bool:
    """Whether a folder with the workspace's id is its own, not an unwritten copy's or a stranger's."""
    if folder.name.endswith(_crc(workspace)):
        return True
    root = folder / ROOT
    is_there = root.exists() and _id(Workspace(root)) == _id(workspace)
    return not is_there or is_same_folder(workspace.root, root)


def _bring_in(workspace: Workspace, writer: str, content: bytes) -> None:
    folder = month_folder(workspace.root, workspace.ledger)
    target = folder / f"{writer}.spool-{os.urandom(4).hex()}.jsonl"
    file = AppendFile(target, ledger_mode(workspace.root))
    try:
        file.append(content)
        file.sync()
    except OSError:
        target.unlink(missing_ok=True)
        raise
    finally:
        file.close()
    fsync_directory(folder)


@contextmanager
def _locked(path: Path, flags: int) -> Iterator[IO[bytes]]:
    """Open `path` for this process only, by a lock between processes of one node, which is reliable on its own disk.

    Raises BlockingIOError while another process has it: none may wait for one that waits for the shared file system.
    """
    while True:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:  # otherwise another process has imported it meanwhile
                yield file
                return


def _is_private(folder: Path, *, create: bool) -> bool:
    """Whether only this user has access to the folder: strangers share the temporary folder."""
    if create:
        folder.mkdir(mode=0o700, exist_ok=True)
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
