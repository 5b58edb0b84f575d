"""A status as last shown, shown again while nothing has changed: if nothing is under way, nothing ages.

Only a cache (see `detour.ledger.private`). It is tied to everything that a status is made of: the journals, the plans,
the markers of every stage, files of grid factors, and the code. It works on strings and has almost no imports, since
imports are most of the time of `detour status`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from zlib import crc32

from detour.ledger.private import code_version, keep_private, private_file, read_private, stamp_of

SEPARATOR = "\0"
"""Separates the parts of the file; occurs in no path, and in no text that is shown."""


class CachedStatus:
    """The cache for one workspace and one way of showing it: the arguments, the width, the colours."""

    def __init__(self, root: str, way: Sequence[object]) -> None:
        self._root, self._way = root, repr(tuple(way))
        self._sources: str | None = None

    def text(self) -> str | None:
        """What was last shown, if it is still valid; None at the slightest doubt."""
        try:
            self._sources = _sources(self._root)
            content = read_private(self._path()).decode()
            way, sources, ids, files, others, text = content.split(SEPARATOR)
            is_same = (way, sources) == (self._way, self._sources)
            is_same = is_same and others == _others(self._root, ids.split(), files.splitlines())
        except (OSError, ValueError):
            return None
        return text if is_same else None

    def keep(self, stages: Iterable[str], files: Iterable[str], text: str) -> None:
        """Store what was shown, after `text()`; any change since then makes it invalid. Does nothing without room.

        `files` outside of the workspace were read for it.
        """
        ids, paths = list(stages), list(files)
        try:
            if self._sources is None or self._sources != _sources(self._root):
                return
            others = _others(self._root, ids, paths)
            parts = (self._way, self._sources, " ".join(ids), "\n".join(paths), others, text)
            keep_private(self._path(), SEPARATOR.join(parts).encode())
        except (OSError, ValueError):
            return

    def _path(self) -> str:
        return private_file(self._root, f"status-{crc32(self._way.encode()):08x}")


def _sources(root: str) -> str:
    """The code, and the stamps of the journals and the plans. Raises OSError, also for a file that may be changing."""
    months = sorted(name for name in os.listdir(f"{root}/ledger") if not name.startswith("."))  # noqa: PTH208
    chains = sorted(os.listdir(f"{root}/chains"))  # noqa: PTH208
    parts = [root, code_version()]
    for month in months:
        with os.scandir(f"{root}/ledger/{month}") as entries:
            journals = (entry for entry in entries if entry.name.endswith(".jsonl") and entry.name[0] != ".")
            parts += sorted(_stamp(entry.path, entry.stat(follow_symlinks=False)) for entry in journals)
    parts += [_stamp(chain, status) for chain in chains if (status := _found(f"{root}/chains/{chain}/plan.json"))]
    return "\n".join(parts)


def _others(root: str, stages: Iterable[str], files: Iterable[str]) -> str:
    """Whether each stage is done, and otherwise when it failed, if it did; and the stamps of other files."""
    markers = [_marker(f"{root}/stages/{stage}") for stage in stages]
    return "\n".join([*markers, *(_stamp(path, status) if (status := _found(path)) else "-" for path in files)])


def _marker(folder: str) -> str:
    if _found(f"{folder}/output/manifest.json"):
        return "done"
    failed = _found(f"{folder}/failed.json")
    return _stamp("failed", failed) if failed else "-"


def _found(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None


def _stamp(name: str, status: os.stat_result) -> str:
    """Raises OSError for a file that may be changing."""
    if (stamp := stamp_of(status)) is None:
        raise OSError(f"{name} is too new to be recognised")
    return f"{name} {stamp}"
