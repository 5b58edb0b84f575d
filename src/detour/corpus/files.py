"""Which files an entry of a recipe means, and what they are, by their content.

For the login node too: imports neither numpy nor torch, nor any package that ships files.
"""

from __future__ import annotations

import glob
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from detour.config.models import File
from detour.corpus.fingerprints import fingerprints
from detour.errors import UserError

Format = Literal["jsonl", "parquet", "csv", "text"]

FORMAT_OF_SUFFIX: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
}
COMPRESSED_SUFFIXES = {".gz", ".zst"}


class SourceError(UserError):
    """A file of a corpus or a task is missing or is not what the recipe takes it for; names the file and the place."""


def resolve_files(entry: File) -> list[Path]:
    """The files of an entry, absolute and sorted; at least one.

    Raises SourceError when there is none, when one of them cannot be opened or is empty, or when the package that ships
    them is not installed.
    """
    if entry.package is None:
        pattern = Path(entry.path).expanduser().absolute()
    else:
        pattern = _package_folder(entry.package) / _relative(entry)
    if pattern.is_dir():
        raise SourceError(f"{pattern}: a folder; give the files in it, such as {pattern}/*.jsonl.gz")
    paths = [pattern] if pattern.exists() else _matches(pattern)
    if not paths:
        raise SourceError(f"{pattern}: no such file" if not glob.has_magic(str(pattern)) else f"{pattern}: no match")
    for path in paths:
        _check_readable(path)
    return paths


def look_into(paths: Sequence[Path]) -> list[str]:
    """Fingerprints of the files' contents, in the same order; raises SourceError for one that cannot be read."""
    try:
        return fingerprints(paths)
    except OSError as error:
        raise SourceError(f"{error.filename}: cannot be read: {error.strerror}") from error


def files_below(folder: Path) -> list[Path]:
    """All files of a local model or tokenizer, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def check_unchanged(paths: Sequence[Path], planned: Sequence[str]) -> None:
    """Raises SourceError unless the files hold what they held when the chain was planned: a stage's key stands for
    that content, and no other may go under its name."""
    for path, was, now in zip(paths, planned, look_into(paths), strict=True):
        if was != now:
            raise SourceError(f"{path}: its content changed after the chain was planned; plan it again")


def file_format(path: Path, given: str) -> Format:
    """The format given, or for `auto` the one that the name says; a compression suffix is passed over."""
    if given != "auto":
        return given  # type: ignore[return-value]  # the recipe's models allow no other
    found = FORMAT_OF_SUFFIX.get(_suffix(path))
    if found is None:
        known = ", ".join(FORMAT_OF_SUFFIX)
        raise SourceError(
            f"{path}: cannot tell its format from its name ({known}); set `format` to jsonl, parquet, csv or text"
        )
    return found


def is_tsv(path: Path) -> bool:
    return _suffix(path) == ".tsv"


def _suffix(path: Path) -> str:
    """Without that of a compression, in small letters."""
    return Path(path.stem if path.suffix in COMPRESSED_SUFFIXES else path.name).suffix.lower()


def _matches(pattern: Path) -> list[Path]:
    # Not Path.glob: a shell's pattern leaves hidden files out, as half-written ones often are.
    names = glob.glob(str(pattern), recursive=True)  # noqa: PTH207
    return sorted(path for path in map(Path, names) if path.is_file())


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise SourceError(f"{path}: is empty")
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error


def _relative(entry: File) -> Path:
    path = Path(entry.path)
    if path.is_absolute() or ".." in path.parts:
        raise SourceError(f"{entry.path}: must be relative to the package {entry.package} and stay inside it")
    return path


def _package_folder(package: str) -> Path:
    """Where an installed package lies; found without importing it."""
    top, *inner = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(f"the package {package} is not installed in this environment: pip install {top}")
    return Path(next(iter(spec.submodule_search_locations))).joinpath(*inner)
