"""A real disk of a few MiB that can be filled to any level."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SmallDisk:
    folder: Path

    @property
    def room_bytes(self) -> int:
        status = os.statvfs(self.folder)
        return status.f_bavail * status.f_frsize

    def leave(self, room_bytes: int) -> None:
        """Fill it until this much space is left."""
        self.free()
        if (surplus_bytes := self.room_bytes - room_bytes) > 0:
            with (self.folder / "fill").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, surplus_bytes)

    def leave_no_files(self) -> None:
        """Leave neither files nor space, not even for an empty file."""
        self.leave(0)
        for number in range(os.statvfs(self.folder).f_favail):
            (self.folder / f"empty-{number}").touch()

    def free(self) -> None:
        for path in (self.folder / "fill", *self.folder.glob("empty-*")):
            path.unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path, size_mib: int, inodes: int | None = None) -> Iterator[SmallDisk]:
    """With at most `inodes` files. Skips the test if this user may not mount: only root may."""
    folder.mkdir()
    options = f"size={size_mib}m,mode=700" + (f",nr_inodes={inodes}" if inodes else "")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def mounted_again(disk: SmallDisk, folder: Path) -> Iterator[None]:
    """The same disk under a second path."""
    folder.mkdir()
    subprocess.run(["mount", "--bind", disk.folder, folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
