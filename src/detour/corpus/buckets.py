"""Shuffling more documents than memory holds.

Documents are scattered by the hash of their index over bucket files, each a range of hashes; read back bucket by
bucket and sorted inside each, they come out in the order of their hashes. That order depends on the key alone, not on
the number of buckets, and memory holds one bucket at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detour.corpus.order import scattered

BUCKET_BYTES = 32 << 20
"""Tokens aimed at in one bucket."""
MAX_BUCKET_BITS = 10
PENDING_BYTES = 32 << 20
"""Tokens held back before they are written, over all buckets."""
RUN_DOCUMENTS = 4096

_ENTRY = np.dtype([("hash", "<u8"), ("length", "<i8")])


@dataclass(frozen=True, slots=True)
class Documents:
    """Several tokenised documents, one after the other."""

    tokens: NDArray[Any]
    lengths: NDArray[np.int64]


class Buckets:
    """`add` every document, in any grouping, then go through `shuffled` once."""

    def __init__(self, folder: Path, key: int, dtype: str, expected_tokens: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.key = key
        self.dtype = np.dtype(dtype)
        self.bits = min((expected_tokens * self.dtype.itemsize // BUCKET_BYTES).bit_length(), MAX_BUCKET_BITS)
        self._added = 0
        self._pending: list[Documents] = []
        self._pending_bytes = 0

    def add(self, documents: Documents) -> None:
        """Documents take the next indices."""
        self._pending.append(documents)
        self._pending_bytes += documents.tokens.nbytes + documents.lengths.nbytes
        if self._pending_bytes >= PENDING_BYTES:
            self._write()

    def shuffled(self) -> Iterator[Documents]:
        """All documents in the order of their hashes, in runs of a few thousand; buckets are removed once read."""
        self._write()
        for bucket in range(1 << self.bits):
            names = self._names(bucket)
            if not names[0].exists():
                continue
            entries = np.fromfile(names[0], dtype=_ENTRY)
            tokens = np.fromfile(names[1], dtype=self.dtype)
            for name in names:
                name.unlink()
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
        """Documents in the order of their hashes, so that each bucket's are neighbours."""
        token_ends = np.concatenate([[0], np.cumsum(entries["length"])])
        firsts = [bucket << (64 - self.bits) for bucket in range(1 << self.bits)]
        cuts = [*np.searchsorted(entries["hash"], np.array(firsts, dtype=np.uint64)).tolist(), len(entries)]
        for bucket, (start, stop) in enumerate(pairwise(cuts)):
            if start == stop:
                continue
            parts = entries[start:stop], tokens[token_ends[start] : token_ends[stop]]
            for name, part in zip(self._names(bucket), parts, strict=True):
                with name.open("ab") as file:
                    part.tofile(file)


def _gathered(tokens: NDArray[Any], begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[Any]:
    return np.concatenate([tokens[a:b] for a, b in zip(begins.tolist(), ends.tolist(), strict=True)])
