"""Digests of file contents, independent of the files' location.

Keys depend on content, so files are read completely. The digest of a large file is cached under its size, times, inode
and device. The cache is private to the user, even in a folder that others can write, and may be deleted at any time.

<XDG_CACHE_HOME or ~/.cache>/detour/digests/<2 hex digits>/<the other 62>     the digest, in hex, with a checksum
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from detour.ledger.private import keep_private, read_private

REMEMBERED_FROM_BYTES = 3 << 20
"""Minimum size of files whose digest is cached; smaller ones are read as fast as the cache."""
SETTLED_AFTER_S = 2.0
"""Minimum age of a file whose digest is cached; a later write to a newer one might not change its time stamp."""
READERS = 8
_DIGEST = re.compile(rb"[0-9a-f]{64}")


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of the file's size (in decimal digits) and content. Raises OSError if it cannot be read."""
    status = path.stat()
    kept = _kept(status) if status.st_size > REMEMBERED_FROM_BYTES else None
    if kept and (known := _recalled(kept)):
        return known
    begun_s = time.time()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.sha256(str(status.st_size).encode())).hexdigest()
    is_settled = begun_s - max(status.st_mtime, status.st_ctime) > SETTLED_AFTER_S
    if kept and is_settled and _kept(path.stat()) == kept:
        with suppress(OSError):  # full or read-only home: the file is read again next time
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            keep_private(str(kept), found.encode())
    return found


def fingerprints(paths: Sequence[Path]) -> list[str]:
    """Return the fingerprints in the same order, reading several files at a time."""
    if len(paths) < 2:
        return [fingerprint(path) for path in paths]
    with ThreadPoolExecutor(READERS) as readers:
        return list(readers.map(fingerprint, paths))


def _kept(status: os.stat_result) -> Path | None:
    """Return where the digest of a file in this state is cached; None if there is no home folder."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  raises nothing
    if not folder.startswith("/"):
        return None
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    name = hashlib.sha256(repr(identity).encode()).hexdigest()
    return Path(folder, "detour", "digests", name[:2], name[2:])


def _recalled(kept: Path) -> str | None:
    try:
        content = read_private(str(kept))
    except (OSError, ValueError):
        return None
    return content.decode() if _DIGEST.fullmatch(content) else None
