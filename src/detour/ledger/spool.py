"""Where records wait if the shared file system takes none: a private folder on this node, imported later.

<temporary folder>/detour-spool-<uid>/<workspace's id>-<crc32 of its path>/
  root                    a link to it, which distinguishes a copy from the workspace under another mount
  <writer>.<n>.jsonl

The id, because a workspace may be moved or seen under several paths. Earlier versions used only the crc32.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
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

ROOT = "root"
UNKNOWN = "unknown"
"""Used in place of an id that could not be read."""


def spool_folder(workspace: Workspace) -> Path:
    """This user's folder for this workspace on this node. Get it early: later the workspace may not respond."""
    return _base() / f"{_id(workspace)}-{_crc(workspace)}"


def spool(workspace: Workspace, folder: Path, writer: str, lines: Iterable[bytes]) -> Path:
    """Store `lines` in the workspace's `spool_folder`. Raises OSError if that cannot be done either."""
    if not _is_private(folder.parent, create=True):
        folder = Path(tempfile.mkdtemp(prefix="detour-spool-"))
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


def _base() -> Path:
    return Path(tempfile.gettempdir()) / f"detour-spool-{os.getuid()}"


def _crc(workspace: Workspace) -> str:
    return f"{crc32(str(workspace.root).encode()):08x}"


def _id(workspace: Workspace) -> str:
    try:
        return workspace_id(workspace.root)
    except (OSError, UserError):  # callers that need the id report this; here a record is at stake
        return UNKNOWN


def _folders(workspace: Workspace) -> list[Path]:
    if not _is_private(_base(), create=False):
        return []
    base, crc = _base(), _crc(workspace)
    found = {base / crc, base / f"{UNKNOWN}-{crc}", *base.glob(f"{_id(workspace)}-*")}
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
