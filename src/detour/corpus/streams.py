"""Read lines from a file that may be compressed, or may not be text at all."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from detour.corpus.files import COMPRESSION_OF_SUFFIX, SourceError, importing_for

MAX_LINE_BYTES = 1 << 28
"""Maximum length of a line or a text document; anything longer is taken for another kind of file."""
ZSTD_SKIPPABLE = tuple(bytes([low]) + b"\x2a\x4d\x18" for low in range(0x50, 0x60))
"""Magic numbers of frames without content, with which files of parallel compressors (pzstd) begin."""
MAGIC = {"gzip": (b"\x1f\x8b",), "zstd": (b"\x28\xb5\x2f\xfd", *ZSTD_SKIPPABLE)}
BUFFER_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TextFile:
    """Decoded UTF-8 lines of a plain, gzip or zstd file, with the position reached.

    Raises SourceError, with the file name and the byte, for content that is unreadable, damaged, binary or not UTF-8.
    Bytes of compressed files are counted after decompression, except in `position`.
    """

    def __init__(self, path: Path, raw: io.FileIO, data: IO[bytes]) -> None:
        self.path = path
        self.line = 0
        """Number of the last line yielded, from 1."""
        self._raw = raw
        self._data = data
        self._offset = 0

    @property
    def position(self) -> int:
        """Bytes of the file itself read so far; slightly ahead of the lines yielded."""
        return self._raw.tell()

    def byte_lines(self) -> Iterator[bytes]:
        """Yield lines with their line ends, checked for NUL bytes; UTF-8 is checked by `decode`."""
        while line := self._data.readline(MAX_LINE_BYTES):
            start, self._offset = self._offset, self._offset + len(line)
            self.line += 1
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                raise SourceError(f"{self.path}: line {self.line} is longer than {MAX_LINE_BYTES:,} bytes")
            if (nul := line.find(b"\0")) >= 0:
                raise SourceError(
                    f"{self.path}: not text: a NUL byte at byte {start + nul:,} (line {self.line}); "
                    "is it of another format, or compressed in another way?"
                )
            if self.line == 1 and line.startswith(BYTE_ORDER_MARK):
                line = line[len(BYTE_ORDER_MARK) :]
            yield line
        if self._offset == 0:
            raise SourceError(f"{self.path}: is empty once decompressed")

    def lines(self) -> Iterator[str]:
        return map(self.decode, self.byte_lines())

    def content(self) -> bytes:
        """Return the whole file as it is, including the byte-order mark; nothing is checked, and it may be empty."""
        return self._data.read()

    def decode(self, line: bytes) -> str:
        """Return the text of the last line yielded. Raises SourceError if it is not UTF-8."""
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            byte = self._offset - len(line) + error.start
            raise SourceError(
                f"{self.path}: not UTF-8 at byte {byte:,} (line {self.line}): {error.reason}; convert it to UTF-8"
            ) from error


@contextmanager
def open_text(path: Path) -> Iterator[TextFile]:
    """Open a file, recognising compression by its first bytes. Raises SourceError like `TextFile`."""
    with ExitStack() as stack:
        raw: io.FileIO | None = None
        try:
            raw = stack.enter_context(path.open("rb", buffering=0))
            yield TextFile(path, raw, stack.enter_context(_decompressed(path, raw)))
        except (OSError, EOFError, zlib.error) as error:
            place = f" near byte {raw.tell():,}" if raw is not None and not raw.closed else ""
            reason = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"{path}: cannot be read{place}: {reason}") from error


def _decompressed(path: Path, raw: io.FileIO) -> IO[bytes]:
    head = raw.read(4)
    raw.seek(0)
    kind = next((kind for kind, magics in MAGIC.items() if head.startswith(magics)), None)
    named = COMPRESSION_OF_SUFFIX.get(path.suffix)
    if named and kind != named:
        raise SourceError(f"{path}: named {path.suffix}, but does not start as {named} does at byte 0")
    if kind == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), BUFFER_BYTES)
    if kind == "zstd":
        with importing_for(path):
            import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"), BUFFER_BYTES)
    return io.BufferedReader(raw, BUFFER_BYTES)
