"""Shuffle more documents than fit in memory.

Documents are scattered over bucket files by the hash of their index; each bucket holds a range of hashes. Reading
bucket by bucket and sorting within each yields them in the order of their hashes. That order depends only on the key,
not on the number of buckets, and memory holds one bucket at a time.

Scattered documents are committed from time to time, and an interrupted scattering resumes from the last commit: bucket
files only grow, so everything after it can be truncated. A commit has the checksum of each file.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from detour.corpus.order import scattered
from detour.files import write_atomic

BUCKET_BYTES = 32 << 20
"""Target size of the tokens in one bucket."""
MAX_BUCKET_BITS = 10
PENDING_BYTES = 32 << 20
"""Size of the tokens that are buffered before they are written, over all buckets."""
RUN_DOCUMENTS = 4096
READ_BYTES = 1 << 20
COMMIT = "committed.json"

_ENTRY = np.dtype([("hash", "<u8"), ("length", "<i8")])


@dataclass(frozen=True, slots=True)
class Documents:
    """Several tokenised documents, one after the other."""

    tokens: NDArray[Any]
    lengths: NDArray[np.int64]


class Buckets:
    """Call `add` with all documents, in any grouping, then `commit`; `shuffled` can then be iterated repeatedly."""

    def __init__(self, folder: Path, key: int, dtype: str, expected_tokens: int) -> None:
        """Resume from the last commit in `folder`, if possible; `documents` tells how many it holds."""
        self.folder = folder
        self.key = key
        self.dtype = np.dtype(dtype)
        self.bits = min((expected_tokens * self.dtype.itemsize // BUCKET_BYTES).bit_length(), MAX_BUCKET_BITS)
        self._pending: list[Documents] = []
        self._pending_bytes = 0
        self._added = 0
        self._crcs: dict[str, int] = {}
        """File name -> CRC-32 of what was appended to it."""
        self.is_committed = False
        self.final: dict[str, int] | None = None
        """What the final commit recorded; None while more documents are expected."""
        self._restore()

    @property
    def documents(self) -> int:
        """Number of documents added, including by earlier attempts; the next one gets this index."""
        return self._added + sum(len(documents.lengths) for documents in self._pending)

    def commit(self, final: Mapping[str, int] | None = None) -> None:
        """Write everything added to disk. `final` marks the last commit and is stored for later attempts."""
        self._write()
        os.sync()  # one call for thousands of files
        sizes = {name: (self.folder / name).stat().st_size for name in self._crcs}
        state = {"documents": self._added, "bits": self.bits, "final": final, "sizes": sizes, "crcs": self._crcs}
        write_atomic(self.folder / COMMIT, orjson.dumps(state))
        self.is_committed = True

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _restore(self) -> None:
        """Restore the state of the last commit; if there is none that matches the files, empty the folder."""
        try:
            state = orjson.loads((self.folder / COMMIT).read_bytes())
            sizes, crcs = state["sizes"], state["crcs"]
            usable = state["bits"] == self.bits and all(
                _crc32(self.folder / name, size) == crcs[name] for name, size in sizes.items()
            )
        except (OSError, ValueError, KeyError):
            usable = False
        if not usable:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            return
        for path in self.folder.iterdir():
            if path.name in sizes:
                os.truncate(path, sizes[path.name])
            elif path.name != COMMIT:
                path.unlink()
        self._added, self.final, self._crcs, self.is_committed = state["documents"], state["final"], crcs, True

    def add(self, documents: Documents) -> None:
        """Add documents, which get the next indices."""
        self._pending.append(documents)
        self._pending_bytes += documents.tokens.nbytes + documents.lengths.nbytes
        if self._pending_bytes >= PENDING_BYTES:
            self._write()

    def shuffled(self) -> Iterator[Documents]:
        """Yield all documents in the order of their hashes, in runs of a few thousand."""
        self._write()
        for bucket in range(1 << self.bits):
            names = self._names(bucket)
            if not names[0].exists():
                continue
            entries = np.fromfile(names[0], dtype=_ENTRY)
            tokens = np.fromfile(names[1], dtype=self.dtype)
            ends = np.cumsum(entries["length"])
            order = np.argsort(entries["hash"])
            for start in range(0, len(order), RUN_DOCUMENTS):
                run = order[start : start + RUN_DOCUMENTS]
                lengths = entries["length"][run]
                yield Documents(_gathered(tokens, ends[run] - lengths, ends[run]), lengths)

    def _names(self, bucket: int) -> tuple[Path, Path]:
        return self.folder / f"{bucket}.entries", self.folder / f"{bucket}.tokens"

    def _write(self) -> None:
        if not self._pending:
            return
        lengths = np.concatenate([documents.lengths for documents in self._pending])
        tokens = np.concatenate([documents.tokens for documents in self._pending], dtype=self.dtype, casting="unsafe")
        self._pending, self._pending_bytes = [], 0
        hashes = scattered(np.arange(self._added, self._added + len(lengths), dtype=np.uint64), self.key)
        self._added += len(lengths)
        order = np.argsort(hashes)
        ends = np.cumsum(lengths)
        entries = np.empty(len(lengths), dtype=_ENTRY)
        entries["hash"], entries["length"] = hashes[order], lengths[order]
        tokens = _gathered(tokens, (ends - lengths)[order], ends[order])
        self._append(entries, tokens)

    def _append(self, entries: NDArray[Any], tokens: NDArray[Any]) -> None:
        """Append documents that are in the order of their hashes, so that those of a bucket are adjacent."""
        token_ends = np.concatenate([[0], np.cumsum(entries["length"])])
        firsts = [bucket << (64 - self.bits) for bucket in range(1 << self.bits)]
        cuts = [*np.searchsorted(entries["hash"], np.array(firsts, dtype=np.uint64)).tolist(), len(entries)]
        for bucket, (start, stop) in enumerate(pairwise(cuts)):
            if start == stop:
                continue
            parts = entries[start:stop], tokens[token_ends[start] : token_ends[stop]]
            for name, part in zip(self._names(bucket), parts, strict=True):
                data = part.view(np.uint8).data
                with name.open("ab") as file:
                    file.write(data)
                self._crcs[name.name] = zlib.crc32(data, self._crcs.get(name.name, 0))


def _crc32(path: Path, size: int) -> int | None:
    """The checksum of the file's first `size` bytes; None if it is shorter."""
    crc = 0
    with path.open("rb") as file:
        while size > 0:
            if not (block := file.read(min(size, READ_BYTES))):
                return None
            crc, size = zlib.crc32(block, crc), size - len(block)
    return crc


def _gathered(tokens: NDArray[Any], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[Any]:
    return np.concatenate([tokens[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)])
