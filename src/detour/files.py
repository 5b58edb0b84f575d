"""Writes that survive a kill at any instant, and digests to verify them."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LFS_POINTER = b"version https://git-lfs"


def fsync_directory(directory: Path) -> None:
    """Make renames and creations inside `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path, aside: Path | None = None) -> Iterator[None]:
    """Make file system errors name `path`, including those of a descriptor, which have no name, and those of a file
    that is written `aside` and then renamed."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename) == str(aside):
            error.filename = str(path)
        raise


@contextmanager
def atomic_writer(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a binary file that appears at `path` complete and synced, or not at all.

    Without `sync`, a power failure may still lose it: for thousands of files followed by a single `os.sync`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    # Not mkstemp, which ignores the umask and sets mode 0600: a group may share its workspace.
    with naming(path, temporary):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with naming(path), os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        fsync_directory(path.parent)


def write_atomic(path: Path, content: bytes | str, *, sync: bool = True) -> None:
    """Replace `path` with `content` so that readers see either the old file or the new one."""
    with atomic_writer(path, sync=sync) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_new(path: Path, content: bytes | str) -> None:
    """Write a new file atomically. Raises FileExistsError if it exists: of several writers, the first wins."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with naming(path, aside):
        write_atomic(aside, content)
    try:
        os.link(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    fsync_directory(path.parent)


def point_link(link: Path, target: Path) -> None:
    """Make `link` lead to `target`, so that readers see either the old target or the new one. Not synced."""
    aside = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    aside.symlink_to(target)
    try:
        aside.replace(link)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def is_file_or_pipe(path: Path) -> bool:
    """Whether the path can be read once: a file, or a pipe, as a shell gives the output of `<(command)`."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # such as a name that is too long or not valid
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


def read_at_most(path: Path, most_bytes: int) -> bytes:
    """Read a whole file. Raises OSError if it is larger than `most_bytes`, such as an endless device."""
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes >> 20} MiB", str(path))
    return content


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file is only a Git LFS pointer, which `git lfs pull` would replace with the content."""
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER
