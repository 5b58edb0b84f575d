"""What could be removed from a workspace, and what was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detour.housekeeping.finding import Kind, Removable
from detour.orchestration.cleaning import Cleaned
from detour.text import cells, counted, fitted, plain, scaled, wrapped

SHOWN = 5
NUMBER, BYTES, INODES = 8, 12, 10
"""Columns of figures, on the right."""
LEAST = 2 + max(map(len, Kind)) + NUMBER
"""Columns that the name of any kind takes, with its number."""
BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def removable_lines(root: Path, found: Sequence[Removable], width: int, *, everything: bool) -> Iterator[str]:
    """No line is longer than `width`, which must be 80 or more."""
    if not found:
        yield f"Nothing can be removed from {plain(str(root))}."
        return
    places = [cells(_place(root, one.path)) + 4 for one in found]
    first = min(max(LEAST, *places), width - BYTES - INODES)
    yield _row("  what", "number", "bytes", "inodes", first)
    for kind in Kind:
        same = [one for one in found if one.kind is kind]
        if same:
            yield _sum_line(kind.value, same, first)
            shown = same if everything else same[:SHOWN]
            yield from (line for one in shown for line in _lines(root, one, first, width))
            if len(shown) < len(same):
                yield f"    and {len(same) - len(shown)} more (--all)"
    yield _sum_line("all", found, first)


def cleaned_lines(root: Path, cleaned: Cleaned, width: int) -> Iterator[str]:
    size, inodes = _sums(cleaned.removed)
    yield f"Removed {counted(len(cleaned.removed), 'item')}: {size} and {counted(inodes, 'inode')}."
    for path, reason in cleaned.skipped:
        yield from wrapped(f"skipped {_place(root, path)}: {plain(reason)}", "  ", width)


def gc_json(found: Sequence[Removable], cleaned: Cleaned | None) -> dict[str, Any]:
    gone = {one.path for one in cleaned.removed} if cleaned else set()
    skipped = {one.path: one.reason for one in cleaned.skipped} if cleaned else {}
    return {
        "bytes": sum(one.extent.size_bytes for one in found),
        "inodes": sum(one.extent.inodes for one in found),
        "removable": [
            {
                "kind": one.kind.name.lower(),
                "path": str(one.path),
                "stage": one.stage,
                "bytes": one.extent.size_bytes,
                "inodes": one.extent.inodes,
                "blocked": one.extent.blocked,
                "removed": one.path in gone,
                "skipped": skipped.get(one.path),
            }
            for one in found
        ],
    }


def _sum_line(name: str, found: Sequence[Removable], first: int) -> str:
    size, inodes = _sums(found)
    return _row(f"  {name}", f"{len(found):,}", size, f"{inodes:,}", first)


def _lines(root: Path, one: Removable, first: int, width: int) -> Iterator[str]:
    size = scaled(one.extent.size_bytes, BYTE_UNITS)
    yield _row(f"    {_place(root, one.path)}", "", size, f"{one.extent.inodes:,}", first)
    if one.extent.blocked:
        yield from wrapped(f"will be skipped: {plain(one.extent.blocked)}", " " * 6, width)


def _row(name: str, number: str, size: str, inodes: str, first: int) -> str:
    """`first` columns for the name and, if there is one, the number."""
    room = first - NUMBER if number else first
    return f"{fitted(name, room)}{number:>{first - room}}{size:>{BYTES}}{inodes:>{INODES}}"


def _sums(found: Iterable[Removable]) -> tuple[str, int]:
    extents = [one.extent for one in found]
    return scaled(sum(one.size_bytes for one in extents), BYTE_UNITS), sum(one.inodes for one in extents)


def _place(root: Path, path: Path) -> str:
    return plain(str(path.relative_to(root)))
