"""Resolve the files of a task's entry: for a table those of a path, for other layouts also all files in a folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from detour.config.models import TaskData
from detour.corpus.files import SourceError, check_readable, resolve_files
from detour.errors import UserError
from detour.paths import written_path
from detour.tasks.readers.registry import Reader, reader_named

TABLE = "table"


def task_files(data: TaskData) -> list[Path]:
    """Return the files, sorted, at least one. Raises UserError if one is missing, unreadable or not in the cache."""
    if data.layout == TABLE and data.hub is None:
        return resolve_files(data)
    if data.package is not None:
        raise SourceError(f"{data.path}: only tables are read from a package ({data.package})")
    pattern = (hub_folder(data.hub, data.revision) / data.path) if data.hub else written_path(data.path).absolute()
    found = _matches(pattern)
    if not found:
        raise SourceError(f"{pattern}: no match")
    reader = reader_named(data.layout)
    paths = sorted({path for one in found for path in _read_of(one, reader)})
    if not paths or (reader.is_paired and not any(path.suffix in reader.suffixes for path in paths)):
        suffixes = " or ".join(reader.suffixes)
        others = "" if reader.is_paired else f"; for files with other suffixes give a pattern, such as {pattern}/*.txt"
        raise SourceError(f"{pattern}: has no {suffixes} file: expected {reader.layout}{others}")
    for path in paths:
        check_readable(path, may_be_empty=True)
    return paths


def _matches(pattern: Path) -> list[Path]:
    """Return the paths that match; a path that exists as written is not a pattern."""
    if pattern.exists() or not glob.has_magic(str(pattern)):
        return [pattern]
    return [Path(name) for name in sorted(glob.glob(str(pattern), recursive=True))]  # noqa: PTH207


def _read_of(path: Path, reader: Reader) -> Iterator[Path]:
    """Yield the files below a folder, except hidden ones, or a file with its companions."""
    if path.is_dir():
        for below in (path, *path.rglob("*")):
            if below.is_dir() and not os.access(below, os.R_OK | os.X_OK):
                raise SourceError(f"{below}: cannot be searched: permission denied; its files would be skipped")
            hidden = any(part.startswith(".") for part in below.relative_to(path).parts)
            if below.suffix in reader.suffixes and not hidden and below.is_file():
                yield below
    elif not path.is_file():
        raise SourceError(f"{path}: no such file or folder: expected {reader.layout}")
    else:
        yield path
        if reader.is_paired and path.suffix in reader.suffixes:
            companions = (path.with_suffix(suffix) for suffix in reader.suffixes)
            yield from (companion for companion in companions if companion.is_file())


def hub_folder(name: str, revision: str | None) -> Path:
    """Return a data set's folder in the hub's cache. Raises UserError with the command that downloads it."""
    fetch = f"hf download {name} --repo-type dataset" + (f" --revision {revision}" if revision else "")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise UserError(f"data set {name}: reading from the hub's cache needs huggingface_hub: {error}") from error
    try:
        return Path(snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True))
    except HFValidationError as error:
        raise UserError(f"data set {name}: not the id of a data set: {error}") from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"data set {name}: not in the hub's cache on this machine; where the hub can be reached: {fetch}"
        ) from error
