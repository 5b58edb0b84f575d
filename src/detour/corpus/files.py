"""Resolve the file entries of a recipe, and identify files by their content.

Also used on login nodes: imports neither numpy nor torch, nor any package that ships files.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from detour.config.fields import File
from detour.corpus.fingerprints import fingerprints
from detour.errors import UserError
from detour.files import is_lfs_pointer
from detour.paths import written_path

Format = Literal["jsonl", "parquet", "csv", "text"]
GivenFormat = Format | Literal["auto"]
Quoting = Literal["auto", "double", "none"]
"""How a CSV file quotes values; `auto` depends on its name."""

FORMAT_OF_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
}
COMPRESSION_OF_SUFFIX = {".gz": "gzip", ".zst": "zstd"}


class SourceError(UserError):
    """A file of a corpus or a task is missing or is not what the recipe says; names the file and the place in it."""


@contextmanager
def importing_for(path: Path) -> Iterator[None]:
    """Raise SourceError if a package is missing that only some file formats need and a login node may lack."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SourceError(
            f"{path}: reading it requires {error.name}, which is not installed: pip install {error.name}"
        ) from error


def resolve_files(entry: File) -> list[Path]:
    """Return the files of an entry, absolute and sorted; at least one.

    Raises SourceError if there is none, if one is not a readable, non-empty file or appears twice, if a pattern would
    silently skip something, or if the package that ships them is not installed.
    """
    if entry.package is None:
        pattern = written_path(entry.path).absolute()
    else:
        pattern = _package_folder(entry.package) / _relative(entry)
    if pattern.is_dir():
        raise SourceError(f"{pattern}: a folder; give the files in it, such as {pattern}/*.jsonl.gz")
    paths = _matches(pattern)
    if not paths:
        raise SourceError(f"{pattern}: no such file" if not glob.has_magic(str(pattern)) else f"{pattern}: no match")
    for path in paths:
        check_readable(path)
    _check_distinct(paths)
    return paths


def look_into(paths: Sequence[Path]) -> list[str]:
    """Return the fingerprints of the files, in the same order.

    Raises SourceError if one cannot be read, or has a name that a plan, which is JSON, cannot hold.
    """
    for path in paths:
        if str(path).encode(errors="ignore").decode() != str(path):
            raise SourceError(f"{str(path)!r}: its path has bytes that are not UTF-8: rename the file or its folder")
    try:
        return fingerprints(paths)
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be read: {error.strerror}") from error


def files_below(folder: Path) -> list[Path]:
    """Return all files of a local model or tokenizer, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_unchanged(paths: Sequence[Path], planned: Sequence[str]) -> None:
    """Raise SourceError if the files changed after the chain was planned: a stage's key depends on their content."""
    for path, was, now in zip(paths, planned, look_into(paths), strict=True):
        if was != now:
            raise SourceError(f"{path}: its content changed after the chain was planned; plan it again")


def check_folder_unchanged(folder: Path, planned: Sequence[tuple[str, str]]) -> None:
    """Like `check_unchanged`, for a local model or tokenizer; `planned` has each file's name and fingerprint."""
    paths = files_below(folder)
    if [path.name for path in paths] != [name for name, _ in planned]:
        raise SourceError(f"{folder}: files were added or removed after the chain was planned; plan it again")
    check_unchanged(paths, [fingerprint for _, fingerprint in planned])


def file_format(path: Path, given: GivenFormat) -> Format:
    """Return the format given, or for `auto` the one by the file name, ignoring a compression suffix."""
    if given != "auto":
        return given
    found = FORMAT_OF_SUFFIX.get(_suffix(path))
    if found is None:
        known = ", ".join(FORMAT_OF_SUFFIX)
        raise SourceError(
            f"{path}: its name does not show its format ({known}); set `format` to jsonl, parquet, csv or text"
        )
    return found


def is_tsv(path: Path) -> bool:
    return _suffix(path) == ".tsv"


def _suffix(path: Path) -> str:
    """Return the suffix in lower case, ignoring a compression suffix."""
    return Path(path.stem if path.suffix in COMPRESSION_OF_SUFFIX else path.name).suffix.lower()


def _matches(pattern: Path) -> list[Path]:
    """Return the matching files and links to files, sorted. Raises SourceError for matches that would be skipped.

    Leading parts of the path that exist as written are not patterns: folder names may contain brackets. Hidden files,
    such as partially written ones, match only a pattern that begins with a dot, as in a shell.
    """
    base, rest = _literal(pattern)
    if not rest:
        return [base]
    for level in range(len(rest)):
        folders = glob.glob(str(Path(*rest[:level])), root_dir=base, recursive=True) if level else ["."]  # noqa: PTH207
        for folder in (base / name for name in folders):
            if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
                raise SourceError(f"{folder}: cannot be searched: permission denied; {pattern} would skip it")
    names = glob.glob(str(Path(*rest)), root_dir=base, recursive=True)  # noqa: PTH207
    found = [base / name for name in names if os.path.lexists(base / name)]  # a final `**` matches a missing folder
    whole = rest[-1] == "**" or rest[-2:] == ("**", "*")
    files = sorted(path for path in found if not (whole and path.is_dir()))
    for path in files:
        if path.is_dir():
            raise SourceError(f"{path}: a folder among the files of {pattern}: give {path}/* as well, or rename it")
        if not path.exists():
            raise SourceError(f"{path}: a link to {path.readlink()}, which does not exist; fix or remove it")
    return files


def _literal(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """Split a path into the part that exists as written and the remaining parts."""
    base = Path(pattern.anchor)
    parts = pattern.parts[1:]
    for place, part in enumerate(parts):
        if not os.path.lexists(base / part):
            return base, parts[place:]
        base /= part
    return base, ()


def check_readable(path: Path, *, may_be_empty: bool = False) -> None:
    """Raise SourceError if a file is of no use: not readable, empty, or only a pointer to its content."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"{path}: not a regular file, but a pipe, a socket or a device")
        with path.open("rb") as file:
            if not file.read(1) and not may_be_empty:
                raise SourceError(f"{path}: is empty")
        if is_lfs_pointer(path):
            raise SourceError(f"{path}: a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error


def _check_distinct(paths: Sequence[Path]) -> None:
    """Raise SourceError if a file would be read twice."""
    known: dict[tuple[int, int], Path] = {}
    for path in paths:
        status = path.stat()
        first = known.setdefault((status.st_dev, status.st_ino), path)
        if first is not path:
            raise SourceError(f"{path}: the same file as {first}, through a link: it would be read twice; remove one")


def _relative(entry: File) -> Path:
    path = Path(entry.path)
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{entry.path}: must be relative to the package {entry.package} and stay inside it")
    return path


def _package_folder(package: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    top, *inner = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"the package {package} is not installed in this environment: pip install {top}")
    return Path(next(iter(spec.submodule_search_locations))).joinpath(*inner)
