"""Read text files in which every character counts, keeping line ends and byte-order mark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from detour.corpus.streams import open_text
from detour.errors import UserError


def decoded(path: Path) -> str:
    """Return a file's text, decompressed. Raises UserError if it cannot be read or, with the line, is not UTF-8."""
    with open_text(path) as file:
        raw = file.content()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line}: not UTF-8 at byte {error.start:,}: {error.reason}; convert it to UTF-8"
        ) from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) without line ends and byte-order mark; nothing follows the last line end."""
    *ended, last = decoded(path).removeprefix("\ufeff").split("\n")
    for number, line in enumerate([*ended, last] if last else ended, 1):
        yield number, line.removesuffix("\r")
