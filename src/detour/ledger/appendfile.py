"""A file that one process appends to, and that a failed write leaves unchanged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from detour.files import fsync_directory


class AppendFile:
    """Appends whole batches or nothing: after an OSError the file ends where it did before, or is truncated later.

    `size` is the end of the last complete batch, `synced` the end of what is known to be on disk.
    """

    def __init__(self, path: Path, mode: int) -> None:
        """Create the file. Raises FileExistsError if it exists."""
        self.path = path
        self.size = self.synced = 0
        self._mode = mode
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, mode)
        self._suspect = False
        try:
            os.fchmod(self._descriptor, mode)  # the umask would remove the group's permissions
            fsync_directory(path.parent)
        except OSError:
            self._suspect = True  # a file system in trouble: the first write detects and repairs it

    def append(self, batch: bytes) -> None:
        """Append a batch in one write. Raises OSError, leaving nothing of the batch behind."""
        if self._suspect:
            self._reopen()
        try:
            rest = memoryview(batch)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            self.rewind(self.size)
            raise
        self.size += len(batch)

    def sync(self) -> None:
        """Raises OSError if what was written since the last sync may be lost, also if the file was deleted."""
        os.fsync(self._descriptor)
        if os.fstat(self._descriptor).st_nlink == 0:
            raise OSError(errno.ESTALE, "the journal was deleted", str(self.path))
        self.synced = self.size

    def rewind(self, size: int) -> None:
        """Discard everything after `size`, now or at the latest before the next write."""
        self.size = size
        try:
            os.ftruncate(self._descriptor, size)
            self._suspect = os.fstat(self._descriptor).st_nlink == 0
        except OSError:
            self._suspect = True

    def close(self) -> None:
        os.close(self._descriptor)

    def _reopen(self) -> None:
        """Replace a stale descriptor; a deleted file starts again."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        fresh = os.open(self.path, flags, self._mode)
        try:
            self.size = min(self.size, os.fstat(fresh).st_size)
            self.synced = min(self.synced, self.size)
            os.ftruncate(fresh, self.size)
            fsync_directory(self.path.parent)
            os.dup2(fresh, self._descriptor, inheritable=False)
        finally:
            os.close(fresh)
        self._suspect = False
