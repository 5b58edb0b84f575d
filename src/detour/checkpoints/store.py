"""Checkpoints of one training run, safe against kills of the writer at any instant.

<folder>/
  step-000000000100-1f3a9c0b2d4e/   complete; named after its step and the digest of its manifest
    state.safetensors               the trainer's state; state.pt in checkpoints of earlier versions
    manifest.json                   owner, step, tokens, figures, size and SHA-256 of the state
  damaged-step-.../                 set aside by `newest_good`, never deleted here
  .writing-.../ .removing-.../      left by a kill; removed at the next start

State and manifest are in one directory, so a single rename commits both. The name verifies the manifest, and the
manifest verifies the state. Only one process at a time writes to a folder. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from detour.checkpoints.trust import deny_others_writing
from detour.files import fsync_directory, sha256_file, write_atomic

STATE, EARLIER_STATE = "state.safetensors", "state.pt"
MANIFEST = "manifest.json"
COMPLETE = re.compile(r"step-\d{12,}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint; `path` is the state file."""

    path: Path
    step: int
    tokens: int
    """Tokens that the phase has trained on by `step`."""
    figures: Mapping[str, Any]
    """Loss, lr and the like at `step`; None if unknown (NaN and infinity are stored as None)."""
    size_bytes: int
    sha256: str
    saved_s: float
    """Time of the save in seconds since the epoch; orders two saves of the same step."""
    owner: str | None = None
    """What trained it; None if not recorded."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that cannot be resumed from; `path` is its folder's new location."""

    path: Path
    step: int
    reason: str


class Damaged(Exception):
    """A checkpoint folder is not as it was written; the message says how."""


class CheckpointStore:
    def __init__(self, folder: Path, owner: str | None = None) -> None:
        """`owner` is what trains; checkpoints of another owner, copied here by hand, are set aside as damaged."""
        self.folder, self.owner = folder, owner
        self._verified: dict[Path, tuple[int, int]] = {}

    def save(self, step: int, tokens: int, write: Callable[[Path], None], figures: Mapping[str, Any]) -> Checkpoint:
        """Commit the file that `write(path)` writes at `path`; after an error nothing is left behind.

        Returns once the checkpoint and its directory entries are on disk.
        """
        aside = self.folder / f".writing-{step}-{os.getpid()}"
        shutil.rmtree(aside, ignore_errors=True)
        _make_as_above(aside)
        try:
            write(aside / STATE)
            deny_others_writing(aside / STATE)
            manifest = _manifest(aside / STATE, self.owner, step, tokens, figures)
            write_atomic(aside / MANIFEST, manifest)
            final = self.folder / f"step-{step:012d}-{_short_digest(manifest)}"
            aside.rename(final)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        fsync_directory(self.folder)
        self._verified[final] = _stamp(final / STATE)
        return _read(final)

    def newest_good(self, check: Callable[[Path], str | None]) -> tuple[Checkpoint | None, list[Skipped]]:
        """Return the checkpoint to resume from (None: start from the beginning), and those that were skipped.

        Call it before training starts: leftovers of a killed writer are removed. Sizes and digests are checked first;
        then `check(state file)` returns why a state cannot be used (does not load, has NaN), or None. Skipped
        checkpoints are renamed to `damaged-...`. File system errors (EIO, ESTALE) are raised, not treated as damage.
        """
        self._remove_leftovers()
        skipped: list[Skipped] = []
        for folder in self._newest_first():
            try:
                checkpoint = self._verify(folder)
                if (reason := check(checkpoint.path)) is None:
                    return checkpoint, skipped
            except Damaged as damage:
                reason = str(damage)
            skipped.append(Skipped(self._set_aside(folder), _step(folder), reason))
        return None, skipped

    def prune(self, keep: int) -> list[Path]:
        """Remove checkpoints older than the `keep` newest good ones (by size and digest), and return the removed ones.

        Damaged checkpoints do not count as good, so the last good one is never removed.
        """
        if keep < 1:
            raise ValueError(f"at least one checkpoint must be kept, not {keep}")
        good = 0
        removed = []
        for folder in self._newest_first():
            if good >= keep:
                _remove(folder)
                removed.append(folder)
            elif self._is_good(folder):
                good += 1
        return removed

    def _newest_first(self) -> list[Path]:
        complete = (path for path in self.folder.glob("step-*") if COMPLETE.fullmatch(path.name) and path.is_dir())
        return sorted(complete, key=_age_order, reverse=True)

    def _verify(self, folder: Path) -> Checkpoint:
        """Verify a checkpoint, rereading its file only if it changed since the last digest. Raises Damaged."""
        checkpoint = _read(folder)
        if None not in (checkpoint.owner, self.owner) and checkpoint.owner != self.owner:
            raise Damaged(f"it is a checkpoint of {checkpoint.owner}")
        if not checkpoint.path.is_file():
            raise Damaged(f"{checkpoint.path.name} is missing")
        size_bytes, _ = stamp = _stamp(checkpoint.path)
        if size_bytes != checkpoint.size_bytes:
            raise Damaged(f"{checkpoint.path.name} has {size_bytes:,} bytes instead of {checkpoint.size_bytes:,}")
        if self._verified.get(folder) != stamp:
            if sha256_file(checkpoint.path) != checkpoint.sha256:
                raise Damaged(f"{checkpoint.path.name} does not have the SHA-256 that was recorded when it was written")
            self._verified[folder] = stamp
        return checkpoint

    def _is_good(self, folder: Path) -> bool:
        try:
            self._verify(folder)
        except Damaged:
            return False
        return True

    def _set_aside(self, folder: Path) -> Path:
        target = self.folder / f"damaged-{folder.name}"
        while target.exists():  # of a copy that was put back and is not better
            target = target.with_name(f"{target.name}-again")
        folder.rename(target)
        fsync_directory(self.folder)
        return target

    def _remove_leftovers(self) -> None:
        for pattern in (".writing-*", ".removing-*"):
            for leftover in self.folder.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)  # another node may have a file open: removed later


def _manifest(state: Path, owner: str | None, step: int, tokens: int, figures: Mapping[str, Any]) -> bytes:
    """Sync `state` to disk and return its manifest."""
    with state.open("rb") as file:
        os.fsync(file.fileno())
    content = {
        "owner": owner,
        "step": step,
        "tokens": tokens,
        "figures": dict(figures),
        "size_bytes": state.stat().st_size,
        "sha256": sha256_file(state),
        "saved_s": time.time(),
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _read(folder: Path) -> Checkpoint:
    """Return the checkpoint that a manifest describes. Raises Damaged if the manifest is missing or was changed."""
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{MANIFEST} is missing") from None
    if _short_digest(manifest) != folder.name.rpartition("-")[2]:
        raise Damaged(f"{MANIFEST} does not have the digest that the folder is named for")
    state = folder / EARLIER_STATE if (folder / EARLIER_STATE).exists() else folder / STATE
    checkpoint = Checkpoint(path=state, **orjson.loads(manifest))
    if checkpoint.step != _step(folder):
        raise Damaged(f"it is named for step {_step(folder):,} and is of step {checkpoint.step:,}")
    return checkpoint


def _make_as_above(folder: Path) -> None:
    """Make a folder with the mode of its parent, so that a group that may write there can resume and prune here."""
    if not folder.parent.is_dir():
        _make_as_above(folder.parent)
    folder.mkdir()
    folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))


def _short_digest(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:12]


def _step(folder: Path) -> int:
    return int(folder.name.split("-")[1])


def _age_order(folder: Path) -> tuple[int, float]:
    try:
        return _step(folder), _read(folder).saved_s
    except Damaged:
        return _step(folder), 0.0


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _remove(folder: Path) -> None:
    """Remove a folder after renaming it, so that a kill leaves a leftover and not a damaged checkpoint."""
    doomed = folder.with_name(f".removing-{folder.name}")
    folder.rename(doomed)
    shutil.rmtree(doomed)
