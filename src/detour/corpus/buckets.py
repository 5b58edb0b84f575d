"""Shuffling more documents than memory holds.

Documents are scattered by the hash of their index over bucket files, each a range of hashes; read back bucket by
bucket and sorted inside each, they come out in the order of their hashes. That order depends on the key alone, not on
the number of buckets, and memory holds one bucket at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detour.corpus.order import scattered

BUCKET_BYTES = 32 << 20
"""Tokens aimed at in one bucket."""
MAX_BUCKET_BITS = 10
BUFFER_BYTES = 64 << 20
"""Tokens held back before they are written, over all buckets."""
RUN_DOCUMENTS = 4096

_ENTRY = np.dtype([("hash", "<u8"), ("tokens", "<i8")])


@dataclass(frozen=True, slots=True)
class Documents:
    """Several tokenised documents, one after the other."""

    tokens: NDArray[Any]
    lengths: NDArray[np.int64]


@dataclass(slots=True)
class _Pending:
    entries: list[NDArray[Any]] = field(default_factory=list)
    tokens: list[NDArray[Any]] = field(default_factory=list)


class Buckets:
    """`add` every document, in any grouping, then go through `shuffled` once."""

    def __init__(self, folder: Path, key: int, dtype: str, expected_tokens: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.key = key
        self.dtype = np.dtype(dtype)
        buckets = expected_tokens * self.dtype.itemsize // BUCKET_BYTES
        self.bits = min(buckets.bit_length(), MAX_BUCKET_BITS)
        self._pending: dict[int, _Pending] = defaultdict(_Pending)
        self._pending_bytes = 0
        self._added = 0

    def add(self, documents: Documents) -> None:
        """Documents take the next indices."""
        count = len(documents.lengths)
        hashes = scattered(np.arange(self._added, self._added + count, dtype=np.uint64), self.key)
        self._added += count
        entries = np.empty(count, dtype=_ENTRY)
        entries["hash"], entries["tokens"] = hashes, documents.lengths
        places = (hashes >> np.uint64(64 - self.bits)) if self.bits else np.zeros(count, dtype=np.uint64)
        tokens = np.split(documents.tokens.astype(self.dtype), np.cumsum(documents.lengths)[:-1])
        for position, place in enumerate(places.tolist()):
            pending = self._pending[place]
            pending.entries.append(entries[position : position + 1])
            pending.tokens.append(tokens[position])
        self._pending_bytes += documents.tokens.size * self.dtype.itemsize + entries.nbytes
        if self._pending_bytes >= BUFFER_BYTES:
            self._write()

    def shuffled(self) -> Iterator[Documents]:
        """All documents in the order of their hashes, in runs of a few thousand; buckets are removed once read."""
        self._write()
        for place in range(1 << self.bits):
            names = self._names(place)
            if not names[0].exists():
                continue
            entries = np.fromfile(names[0], dtype=_ENTRY)
            tokens = np.fromfile(names[1], dtype=self.dtype)
            for name in names:
                name.unlink()
            ends = np.cumsum(entries["tokens"])
            begins = ends - entries["tokens"]
            order = np.argsort(entries["hash"])
            for start in range(0, len(order), RUN_DOCUMENTS):
                run = order[start : start + RUN_DOCUMENTS]
                pieces = [tokens[a:b] for a, b in zip(begins[run].tolist(), ends[run].tolist(), strict=True)]
                yield Documents(np.concatenate(pieces), entries["tokens"][run])

    def _names(self, place: int) -> tuple[Path, Path]:
        return self.folder / f"{place}.entries", self.folder / f"{place}.tokens"

    def _write(self) -> None:
        for place, pending in self._pending.items():
            for name, parts in zip(self._names(place), (pending.entries, pending.tokens), strict=True):
                with name.open("ab") as file:
                    file.write(np.concatenate(parts).data)
        self._pending.clear()
        self._pending_bytes = 0
