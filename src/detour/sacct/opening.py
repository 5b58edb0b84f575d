"""Open dumps as lines of text, compressed or not, refusing known unreadable formats by name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import IO, cast

from detour.errors import UserError

STANDARD_INPUT = "-"
JSON_BEGINS = "{"
LONGEST_LINE = 2**22
"""Maximum number of characters in a line, including its end; a row has some hundreds."""
_SEEN_BYTES = 6
_PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_FOREIGN = (
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd", "decompress it with `zstd -d`"),
    (b"PK\x03\x04", "is a zip archive", "unpack it"),
    (b"PAR1", "is a Parquet file", "write its table as CSV"),
    (b"SQLite", "is a database", "write its table as CSV"),
    (b"[", "is JSON", "write a table, as CSV, with a row for each attempt"),
    (b"; ", "is a log in the Standard Workload Format", "write a table, as CSV, with the names of its columns"),
    (b"\xff\xfe", "is UTF-16, as PowerShell writes files", "save it as UTF-8"),
    (
        b"JobId=",
        "is the log of Slurm's jobcomp/filetxt plugin",
        "make a dump of the same jobs with `sacct --parsable2`",
    ),
)


@contextmanager
def opened(path: Path) -> Iterator[Iterator[str]]:
    """Open a dump as lines with their ends; `-` is standard input. Invalid UTF-8 becomes `�`.

    Raises UserError if the file cannot be opened, read or decompressed, or a line is too long.
    """
    try:
        with _binary(path) as raw, TextIOWrapper(raw, "utf-8-sig", errors="replace", newline="\n") as text:
            yield _bounded(text, path)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{path}: cannot be read: {reason}") from None


def _bounded(text: TextIOWrapper, path: Path) -> Iterator[str]:
    is_json = False
    for number, line in enumerate(iter(partial(text.readline, LONGEST_LINE), ""), 1):
        is_json = is_json or (number == 1 and line.startswith(JSON_BEGINS))
        if len(line) == LONGEST_LINE and not is_json:
            expected = f"expected rows of a table, and found a line of more than {LONGEST_LINE:,} characters"
            name = "standard input" if str(path) == STANDARD_INPUT else path
            raise UserError(f"{name}:{number}: {expected}; check that it is a dump of sacct")
        yield line


@contextmanager
def _binary(path: Path) -> Iterator[IO[bytes]]:
    """Open the file only once, because a pipe such as `<(sacct ...)` cannot be reread."""
    if str(path) == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with path.open("rb") as file:
        start = file.peek(_SEEN_BYTES)
        for magic, what, advice in _FOREIGN:
            if start.startswith(magic):
                raise UserError(f"{path}: {what}: {advice}")
        unpack = next((unpack for magic, unpack in _PACKED if start.startswith(magic)), None)
        if unpack is None:
            yield file
            return
        with cast("IO[bytes]", unpack(file, "rb")) as unpacked:
            yield unpacked
