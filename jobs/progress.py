"""Whether a stage makes progress: several attempts in a row that leave nothing new in `work/` end it.

Otherwise they would repeat forever. Some attempts do not count, and are marked so by a file next to their own: those
without their inputs, those asked to make room for others, and all before a permanent failure, since `detour retry`
starts afresh.
"""

from __future__ import annotations

from pathlib import Path

FRUITLESS_ATTEMPTS = 3
"""Attempts in a row without a new checkpoint or result after which a stage is given up."""
UNCOUNTED = ".uncounted"


def is_fruitless(stage_folder: Path, number: int) -> bool:
    """Whether the counted attempts up to this one are enough, and nothing in `work/` is newer than their first."""
    counted = _counted(stage_folder, number)
    if len(counted) < FRUITLESS_ATTEMPTS:
        return False
    return not _has_work_since(stage_folder, counted[-FRUITLESS_ATTEMPTS])


def got_further(stage_folder: Path, number: int) -> bool:
    """Whether this attempt has left anything new in `work/`."""
    path = stage_folder / "attempts" / f"{number:04d}.json"
    return path.exists() and _has_work_since(stage_folder, path)


def _has_work_since(stage_folder: Path, attempt: Path) -> bool:
    since_s, work = attempt.stat().st_mtime, stage_folder / "work"
    kept = (path for path in work.rglob("*") if path.is_file() and _is_work(path.relative_to(work)))
    return any(path.stat().st_mtime > since_s for path in kept)


def leave_uncounted(stage_folder: Path, number: int) -> None:
    """Mark an attempt that stopped through no fault of the stage."""
    (stage_folder / "attempts" / f"{number:04d}{UNCOUNTED}").touch()


def restart_count(stage_folder: Path, number: int) -> None:
    """Stop counting all attempts so far, after a permanent failure."""
    for path in _counted(stage_folder, number):
        path.with_suffix(UNCOUNTED).touch()


def attempts_in(folder: Path) -> list[Path]:
    """The files by which attempts took their numbers; other files are ignored."""
    return [path for path in folder.glob("*.json") if path.stem.isascii() and path.stem.isdecimal()]


def _counted(stage_folder: Path, number: int) -> list[Path]:
    paths = (path for path in attempts_in(stage_folder / "attempts") if int(path.stem) <= number)
    return [path for path in sorted(paths, key=lambda path: int(path.stem)) if not path.with_suffix(UNCOUNTED).exists()]


def _is_work(path: Path) -> bool:
    """Whether a file is work, not left by a killed writer or written by a logger."""
    return path.parts[0] != "logs" and not any(part.startswith(".") for part in path.parts)
