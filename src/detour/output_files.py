"""Write files that the user named: atomically, following links, or into a device."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from detour.errors import UserError
from detour.files import atomic_writer

MOST_LINKS = 40
"""Maximum number of links to follow, as in Linux."""
OPENED = "/proc/"
"""Links below it, such as the target of /dev/stdout, refer to open files of a process, which cannot be replaced."""


def write_output(path: Path, content: bytes | str, option: str) -> None:
    write_outputs({path: content}, option)


def write_outputs(contents: Mapping[Path, bytes | str], option: str) -> None:
    """Replace all of the files, or none if the disk has no room for all of them; pipes and terminals are written to.

    A replaced file keeps its mode, and links are followed. Raises UserError, which names `option` to choose another
    path.
    """
    written = next(iter(contents))
    try:
        with ExitStack() as files:
            for path, content in contents.items():
                written = path
                _write(path, content.encode() if isinstance(content, str) else content, files)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{written}: cannot be written ({reason}); choose another place with {option}") from error


def _write(path: Path, content: bytes, files: ExitStack) -> None:
    """Write a file that appears at `path` when `files` is closed."""
    target, mode = _behind_links(path), _mode(path)
    if str(target).startswith(OPENED) or (mode is not None and _is_stream(mode)):
        with os.fdopen(_stream(target), "wb") as stream:
            stream.write(content)
        return
    if mode is not None and not os.access(target, os.W_OK):
        raise PermissionError("it is write-protected")
    file = files.enter_context(atomic_writer(target))
    if mode is not None:
        os.fchmod(file.fileno(), stat.S_IMODE(mode))
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _is_stream(mode: int) -> bool:
    """Whether to write into it directly. Raises OSError for a folder, a disk or a socket."""
    if stat.S_ISREG(mode):
        return False
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        return True
    raise OSError(f"it is a {'folder' if stat.S_ISDIR(mode) else 'device or socket'}")


def _stream(target: Path) -> int:
    """Return a descriptor to write to; for an open file of this process a duplicate, which shares its position."""
    if target.parent == Path(f"/proc/{os.getpid()}/fd") and target.name.isdecimal():
        return os.dup(int(target.name))
    return os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)


def _behind_links(path: Path) -> Path:
    """Resolve links to the file's path, stopping at an open file of a process. Raises OSError for a cycle."""
    for _ in range(MOST_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if str(path).startswith(OPENED) or not path.is_symlink():
            return path
        path = path.parent / path.readlink()
    raise OSError("its links lead in a circle")
