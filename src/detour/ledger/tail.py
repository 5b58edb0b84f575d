"""How far a journal has been read, and whether the file there is still the one that was read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import RawIOBase
from zlib import crc32

from detour.ledger.lines import Parsed

ENDING_BYTES = 512
"""Bytes by which a journal is recognised: more than one record, with its clock and number."""


@dataclass(slots=True)
class Tail:
    device: int
    inode: int
    offset: int = 0
    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0
    """When its content or status last changed; no user can set it."""
    crc: int = 0
    """Checksum of everything before `offset`."""
    ending_bytes: int = 0
    ending_crc: int = 0
    """Checksum of the last bytes before `offset`, which differ if the journal was cut and continued otherwise."""
    bad_lines: int = 0
    nul_bytes: int = 0
    foreign: dict[str, int] = field(default_factory=dict)
    is_closed: bool = False
    """Whether its writer recorded that nothing follows."""

    @property
    def is_sound(self) -> bool:
        """Whether all of it could be read. If it changes, the rest is read again: a file server may fill a hole."""
        return not self.bad_lines and not self.nul_bytes

    def is_of(self, status: os.stat_result) -> bool:
        """Whether it is still the file that was read, perhaps grown."""
        return (self.device, self.inode) == (status.st_dev, status.st_ino) and status.st_size >= self.offset

    def is_at_rest(self, status: os.stat_result) -> bool:
        """Whether nothing has been written to it since it was read to its end."""
        return (
            status.st_size == self.offset == self.size
            and status.st_mtime_ns == self.modified_ns
            and status.st_ctime_ns == self.changed_ns
            and status.st_ino == self.inode
            and status.st_dev == self.device
        )

    def fits(self, file: RawIOBase, status: os.stat_result) -> bool:
        """Whether the file still begins with what was read. Raises OSError if it cannot be read.

        Of a file that has grown, the ending is compared; one that was written to without growing is compared whole.
        """
        if not self.is_of(status):
            return False
        if status.st_size == self.size and status.st_mtime_ns != self.modified_ns:
            file.seek(0)
            return crc32(file.read(self.offset) or b"") == self.crc
        file.seek(self.offset - self.ending_bytes)
        return crc32(file.read(self.ending_bytes) or b"") == self.ending_crc

    def seen(self, status: os.stat_result, size: int) -> None:
        self.size = size
        self.modified_ns, self.changed_ns = status.st_mtime_ns, status.st_ctime_ns

    def advance(self, content: bytes, parsed: Parsed, status: os.stat_result) -> None:
        """Move past what was just read."""
        self.seen(status, self.offset + len(content))
        self.offset += parsed.used
        self.bad_lines += parsed.bad_lines
        self.nul_bytes += parsed.nul_bytes
        if parsed.used:
            self.crc = crc32(memoryview(content)[: parsed.used], self.crc)
            ending = content[max(0, parsed.used - ENDING_BYTES) : parsed.used]
            self.ending_bytes, self.ending_crc = len(ending), crc32(ending)
