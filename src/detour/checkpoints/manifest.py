"""The manifest of a finished output folder: size and SHA-256 of every file, and provenance.

The manifest is written last and the folder then renamed into place, so its presence marks a complete output. Its
`sha256` covers all files: two outputs with the same value are identical.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from detour.files import fsync_directory, sha256_file, write_atomic
from detour.ledger.workspace import MANIFEST

SCHEMA = 1


def write_manifest(folder: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Sync all of `folder` to disk, write its manifest.json and return the content.

    Raises ValueError for a link or a special file, whose content could change after it was digested.
    """
    entries = sorted(path for path in folder.rglob("*") if path != folder / MANIFEST)
    if odd := [path for path in entries if path.is_symlink() or not (path.is_file() or path.is_dir())]:
        raise ValueError(f"{odd[0]}: neither a file nor a directory; an output may contain nothing else")
    paths = [path for path in entries if path.is_file()]
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(_sync_and_digest, paths))
    for directory in (path for path in entries if path.is_dir()):
        fsync_directory(directory)
    files = {
        path.relative_to(folder).as_posix(): {"size_bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, digests, strict=True)
    }
    manifest = {"schema": SCHEMA, "sha256": _summary(files), "files": files, "provenance": dict(provenance)}
    write_atomic(folder / MANIFEST, orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder. Raises ValueError if it is missing or was changed."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{folder}: {MANIFEST} is missing: the output is not complete") from None
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{folder / MANIFEST}: not readable ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ValueError(f"{folder / MANIFEST}: not a manifest of schema {SCHEMA}")
    if manifest.get("sha256") != _summary(manifest.get("files")):
        raise ValueError(f"{folder / MANIFEST}: its list of files was changed after it was written")
    if not _is_list_of_files(manifest["files"]):
        raise ValueError(f"{folder / MANIFEST}: its list of files does not have names with size and SHA-256")
    return manifest


def verify_manifest(folder: Path) -> list[str]:
    """Return the problems of an output, one sentence each; empty if every listed file is as it was written.

    Files that the manifest does not list are ignored.
    """
    try:
        files = read_manifest(folder)["files"]
    except ValueError as error:
        return [str(error)]
    problems = list(filter(None, (_size_problem(folder / name, entry) for name, entry in files.items())))
    if problems:
        return problems
    with ThreadPoolExecutor() as pool:
        found = pool.map(sha256_file, (folder / name for name in files))
        return [
            f"{folder / name}: its SHA-256 is not the one recorded"
            for (name, entry), digest in zip(files.items(), found, strict=True)
            if digest != entry["sha256"]
        ]


def not_output_of(stage_id: str, manifest: Mapping[str, Any]) -> str | None:
    """Return why a valid manifest is not that of this stage's output, None if it is."""
    if not manifest["files"]:
        return "its manifest lists no file"
    match manifest.get("provenance"):
        case {"stage": {"kind": str(kind), "key": str(key)}}:
            return None if f"{kind}-{key}" == stage_id else f"it is the output of {kind}-{key}"
    return "its manifest does not say which stage made it"


def _is_list_of_files(files: object) -> bool:
    return isinstance(files, dict) and all(
        isinstance(entry, dict) and {"size_bytes", "sha256"} <= entry.keys() for entry in files.values()
    )


def _size_problem(path: Path, entry: Mapping[str, Any]) -> str | None:
    if not path.is_file():
        return f"{path}: missing"
    size_bytes = path.stat().st_size
    if size_bytes != entry["size_bytes"]:
        return f"{path}: {size_bytes:,} bytes instead of {entry['size_bytes']:,}"
    return None


def _sync_and_digest(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return sha256_file(path)


def _summary(files: object) -> str:
    return hashlib.sha256(orjson.dumps(files, option=orjson.OPT_SORT_KEYS)).hexdigest()
