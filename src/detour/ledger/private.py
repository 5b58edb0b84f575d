"""This user's caches on this node, in <temporary folder>/detour-cache-<uid>/: where they are, and what makes them safe.

The folder and its files are closed to others, and a file is used only if it is the user's own and undamaged. A value is
tied to the code that computes figures (`code_version`) and to the files it was read from (`stamp_of`). All caches may
be deleted at any time.

Cheap imports only: a previous `status` is found here and shown at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from stat import S_ISDIR, S_ISREG
from zlib import crc32

FileStamp = tuple[int, int, int, int]
"""Inode, size, and times in ns of the last change of a file's content and of its status."""
SETTLED_NS = 2_000_000_000
"""Age in ns of a file's last change from which another change alters its times, also on coarse file systems."""
MOST_FILES, MOST_BYTES = 100, 500_000_000
"""Upper bounds on the caches of one user; the oldest files are removed first, also those of killed commands."""
CODE = (
    ".",
    "accounting",
    "config",
    "forecasting",
    "launch",
    "launch/text",
    "ledger",
    "monitoring",
    "planning",
    "reporting",
    "sacct",
    "scheduler",
    "statistics",
)
"""Folders of the package with code that cached values depend on."""
_CHECKSUM_BYTES = 9


def private_file(root: str, what: str) -> str:
    """The path of one file for the workspace at `root`. Raises OSError if others could have written it."""
    folder = f"{os.environ.get('TMPDIR') or '/tmp'}/detour-cache-{os.getuid()}"
    try:
        os.mkdir(folder, 0o700)  # noqa: PTH102
    except FileExistsError:
        if not _is_private(os.lstat(folder), S_ISDIR):
            raise OSError(f"{folder} is not private") from None
    return f"{folder}/{crc32(root.encode()):08x}.{what}"


def read_private(path: str) -> bytes:
    """What `keep_private` stored. Raises OSError if others could have written it, ValueError if it is damaged."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not _is_private(os.fstat(file.fileno()), S_ISREG):
            raise OSError(f"{path} is not private")
        checksum, content = file.read(_CHECKSUM_BYTES), file.read()
    if checksum != _checksum(content):
        raise ValueError(f"{path} is damaged")
    return content


def keep_private(path: str, content: bytes) -> None:
    """Store a cache file, whole or not at all; without room, nothing. Removes the oldest if there are too many."""
    unfinished = f"{path}.{os.urandom(4).hex()}"
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(_checksum(content))
            file.write(content)
        os.replace(unfinished, path)  # noqa: PTH105
        _remove_oldest(os.path.dirname(path))  # noqa: PTH120
    except OSError:
        with suppress(OSError):
            os.unlink(unfinished)  # noqa: PTH108


def stamp_of(status: os.stat_result) -> FileStamp | None:
    """By which a cache recognises a file that is unchanged since; None if a change right now might not show.

    No user can set the time of the last change of status, so copies and restored files differ in it.
    """
    changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    if changed_ns > time.time_ns() - SETTLED_NS:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@cache
def code_version() -> str:
    """Changes with the installed code; of a long-running process, as it was when first called. Raises OSError."""
    package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    stamps = []
    for room in CODE:
        with os.scandir(f"{package}/{room}") as entries:
            files = sorted((entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py"))
        stamps += [(name, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for name, one in files]
    return f"{crc32(repr((package, stamps)).encode()):08x}"


def _is_private(status: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    return is_kind(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077


def _checksum(content: bytes) -> bytes:
    return b"%08x\n" % crc32(content)


def _remove_oldest(folder: str) -> None:
    with os.scandir(folder) as entries:
        found = [(entry.stat(follow_symlinks=False), entry.path) for entry in entries]
    n_bytes = 0
    for place, (status, path) in enumerate(sorted(found, key=lambda one: -one[0].st_mtime_ns)):
        n_bytes += status.st_size
        if place >= MOST_FILES or n_bytes > MOST_BYTES:
            os.unlink(path)  # noqa: PTH108
