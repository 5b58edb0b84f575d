"""Find repeated documents by the digests of their tokens.

Two documents are repeats if the tokenizer produces the same tokens. With 64-bit digests, one in four thousand corpora
of a hundred million documents has a false pair of repeats. Digests and lengths are stored in files, so memory holds a
few bytes per document and a part of the digests at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detour.corpus.buckets import Documents

DIGEST_BYTES = 8
PART_DOCUMENTS = 1 << 20
"""Number of digests processed at a time."""

Digests = NDArray[np.uint64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outline:
    """Digest and length of every document, in order, by which they are divided."""

    digests: Digests
    lengths: NDArray[np.int64]
    """Lengths in tokens."""


def outline(documents: Iterable[Documents], folder: Path) -> Outline:
    """Write the outline of the documents to `folder` and return it, memory-mapped."""
    places = folder / "digests.bin", folder / "lengths.bin"
    with places[0].open("wb") as digests, places[1].open("wb") as lengths:
        for run in documents:
            data, size = np.ascontiguousarray(run.tokens).view(np.uint8).data, run.tokens.itemsize
            ends = np.cumsum(run.lengths) * size
            bounds = zip((ends - run.lengths * size).tolist(), ends.tolist(), strict=True)
            digests.writelines(blake2b(data[a:b], digest_size=DIGEST_BYTES).digest() for a, b in bounds)
            lengths.write(np.ascontiguousarray(run.lengths, dtype="<i8").data)
    return Outline(mapped(places[0], "<u8"), mapped(places[1], "<i8"))


def mapped(path: Path, dtype: str) -> NDArray[Any]:
    """Return the numbers in a file, memory-mapped; an empty file cannot be mapped."""
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.empty(0, dtype=dtype)


def write_chosen(path: Path, digests: Digests, chosen: Flags) -> None:
    with path.open("wb") as file:
        for part in _parts(len(digests)):
            file.write(digests[part][chosen[part]].data)


def repeated(digests: Digests, earlier: Sequence[Digests] = ()) -> Flags:
    """Return true for each document that occurs before: in the same array, or in one of the `earlier` ones."""
    again = np.zeros(len(digests), dtype=np.bool_)
    parts = len(digests) // PART_DOCUMENTS + 1
    for low, high in pairwise((part << 64) // parts for part in range(parts + 1)):
        places = np.flatnonzero(_between(digests, low, high))
        own = digests[places]
        here = np.ones(len(own), dtype=np.bool_)
        here[np.unique(own, return_index=True)[1]] = False
        for others in earlier:
            here |= np.isin(own, others[_between(others, low, high)])
        again[places] = here
    return again


def seen(digests: Digests, others: Sequence[Digests]) -> int:
    """Return how many of `digests` occur in any of the others."""
    found = np.zeros(len(digests), dtype=np.bool_)
    for array in others:
        for part in _parts(len(array)):
            found |= np.isin(digests, array[part])
    return int(found.sum())


def _between(digests: Digests, low: int, high: int) -> Flags:
    """Return which digests are at least `low` and below `high`."""
    above: Flags = digests >= np.uint64(low)
    return above if high >> 64 else above & (digests < np.uint64(high))


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + PART_DOCUMENTS) for start in range(0, count, PART_DOCUMENTS))
