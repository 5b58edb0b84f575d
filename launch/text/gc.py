"""What could be removed from a workspace, and what was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from detour.housekeeping.finding import Kind, Removable
from detour.orchestration.cleaning import Cleaned
from detour.text import counted, cut, plain, scaled

SHOWN = 5
BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def removable_lines(root: Path, found: Sequence[Removable], *, everything: bool) -> Iterator[str]:
    """At most 100 columns."""
    if not found:
        yield f"Nothing could go from {plain(str(root))}."
        return
    yield f"  {'what':<38}{'number':>8}{'bytes':>12}{'inodes':>10}"
    for kind in Kind:
        same = [one for one in found if one.kind is kind]
        if same:
            yield _sum_line(kind.value, same)
            shown = same if everything else same[:SHOWN]
            yield from (_line(root, one) for one in shown)
            if len(shown) < len(same):
                yield f"    and {len(same) - len(shown)} more (--all)"
    yield _sum_line("all", found)


def cleaned_lines(root: Path, cleaned: Cleaned) -> Iterator[str]:
    size, inodes = _sums(cleaned.removed)
    yield f"Removed {counted(len(cleaned.removed), 'item')}: {size} and {counted(inodes, 'inode')}."
    for path, reason in cleaned.skipped:
        yield cut(f"  skipped {_place(root, path)}: {plain(reason)}", 100)


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


def _sum_line(name: str, found: Sequence[Removable]) -> str:
    size, inodes = _sums(found)
    return f"  {name:<38}{len(found):>8,}{size:>12}{inodes:>10,}"


def _line(root: Path, one: Removable) -> str:
    size = scaled(one.extent.size_bytes, BYTE_UNITS)
    blocked = f"  {one.extent.blocked}: will be skipped" if one.extent.blocked else ""
    return cut(f"    {cut(_place(root, one.path), 52):<52}{size:>12}{one.extent.inodes:>10,}{plain(blocked)}", 100)


def _sums(found: Iterable[Removable]) -> tuple[str, int]:
    extents = [one.extent for one in found]
    return scaled(sum(one.size_bytes for one in extents), BYTE_UNITS), sum(one.inodes for one in extents)


def _place(root: Path, path: Path) -> str:
    return plain(str(path.relative_to(root)))
