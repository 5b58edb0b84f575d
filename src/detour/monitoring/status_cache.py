"""A status as last shown, shown again while nothing has changed: if nothing is under way, nothing ages.

Only a cache, on this node and private. It is tied to everything that a status is made of: the journals, the plans, the
markers of every stage, and the code that renders it. It works on strings and has almost no imports, since imports are
most of the time of `detour status`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from zlib import crc32

from detour.ledger.private import private_file

SEPARATOR = "\0"
"""Separates the parts of the file; occurs in no path, and in no text that is shown."""
CODE = ("accounting", "monitoring", "launch/text")


class CachedStatus:
    """The cache for one workspace and one way of showing it: the arguments, the width, the colours."""

    def __init__(self, root: str, way: Sequence[object]) -> None:
        self._root, self._way = root, repr(tuple(way))
        self._sources: str | None = None

    def text(self) -> str | None:
        """What was last shown, if it is still valid; None at the slightest doubt."""
        try:
            self._sources = _sources(self._root)
            with open(self._path(), encoding="utf-8") as file:  # noqa: PTH123
                way, sources, ids, markers, text = file.read().split(SEPARATOR)
            is_same = (way, sources) == (self._way, self._sources) and _markers(self._root, ids.split()) == markers
        except (OSError, ValueError):
            return None
        return text if is_same else None

    def keep(self, stages: Iterable[str], text: str) -> None:
        """Store what was shown, after `text()`; any change since then makes it invalid. Does nothing without room."""
        ids = list(stages)
        try:
            path = self._path()
            if self._sources is None or self._sources != _sources(self._root):
                return
            parts = (self._way, self._sources, " ".join(ids), _markers(self._root, ids), text)
            unfinished = f"{path}.{os.getpid()}"
            with open(unfinished, "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write(SEPARATOR.join(parts))
            os.replace(unfinished, path)  # noqa: PTH105
        except (OSError, ValueError):
            return

    def _path(self) -> str:
        return private_file(self._root, f"status-{crc32(self._way.encode()):08x}")


def _sources(root: str) -> str:
    """Names, sizes and times of the journals, the plans and the code. Raises OSError."""
    months = sorted(name for name in os.listdir(f"{root}/ledger") if not name.startswith("."))  # noqa: PTH208
    chains = sorted(os.listdir(f"{root}/chains"))  # noqa: PTH208
    parts = [root, *code_stamps()]
    for month in months:
        parts += _stamps(f"{root}/ledger/{month}", ".jsonl")
    for chain in chains:
        try:
            parts.append(_stamp(chain, os.stat(f"{root}/chains/{chain}/plan.json")))  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            continue
    return "\n".join(parts)


def code_stamps() -> list[str]:
    """Names, sizes and times of the code files that produce a status. Raises OSError."""
    package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    return [stamp for folder in CODE for stamp in _stamps(f"{package}/{folder}", ".py")]


def _stamps(folder: str, ending: str) -> list[str]:
    with os.scandir(folder) as entries:
        files = (entry for entry in entries if entry.name.endswith(ending) and entry.name[0] != ".")
        return sorted(_stamp(entry.name, entry.stat()) for entry in files)


def _stamp(name: str, status: os.stat_result) -> str:
    return f"{name} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _markers(root: str, stages: Iterable[str]) -> str:
    """Whether each stage is done, and otherwise when it failed, if it did."""
    return " ".join(_marker(f"{root}/stages/{stage}") for stage in stages)


def _marker(folder: str) -> str:
    for letter, path in (("d", f"{folder}/output/manifest.json"), ("f", f"{folder}/failed.json")):
        try:
            status = os.stat(path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            continue
        return letter if letter == "d" else f"f{status.st_mtime_ns}"
    return "-"
