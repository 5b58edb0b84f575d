"""Full rows of packed documents, looked up by number: row i is the same for every reader, in any order of access.

Each source is an endless stream of tokens: one epoch after another, each with every document exactly once, in an order
of its own. A row is the next `sequence_length` tokens of one source's stream; if it cuts a document, the rest begins
that source's next row as a separate document. The mix determines the source of each row.

Documents are already in shuffled order on disk. An epoch reorders blocks of them (`_block_starts`): single documents if
there are up to a million, longer runs otherwise. So memory stays at tens of MB per source, and rows are read in few
contiguous pieces, for corpora of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detour.corpus.layout import Split, open_tokens, read_index
from detour.corpus.order import mix_cycle, mix_parts, order_key, shuffled
from detour.errors import NotReady

MAX_BLOCKS = 1 << 20


@dataclass(frozen=True, slots=True)
class PackedRow:
    input_ids: NDArray[np.int64]
    """(sequence_length,)"""
    cu_seqlens: NDArray[np.int32]
    """(documents + 1,): start of each document in the row; the last entry is sequence_length."""
    source: str


@dataclass(frozen=True, slots=True)
class _Epoch:
    """One pass over a stream."""

    blocks: NDArray[np.int64]
    """(m,): block numbers in this epoch's order."""
    ends: NDArray[np.int64]
    """(m,): tokens of this epoch up to and including each block."""


class _Stream:
    """One source's tokens: shuffled anew every epoch if `shuffle_seed` is given, otherwise as on disk."""

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[np.int64], shuffle_seed: int | None, name: str) -> None:
        self.tokens = tokens
        self.offsets = offsets
        self.shuffle_seed = shuffle_seed
        self.name = name
        self.first_documents = _block_starts(offsets, MAX_BLOCKS)
        self.block_lengths = np.diff(offsets[self.first_documents])
        self.epoch = lru_cache(maxsize=2)(self._epoch)

    def _epoch(self, number: int) -> _Epoch:
        count = len(self.block_lengths)
        order: NDArray[np.int64] = np.arange(count)
        if self.shuffle_seed is not None:
            order = shuffled(count, order_key(self.shuffle_seed, self.name, number))
        return _Epoch(order, np.cumsum(self.block_lengths[order]))

    def read(self, start: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return tokens [start, start + length) of the stream, and the document boundaries among them."""
        pieces: list[NDArray[Any]] = []
        document_lengths: list[NDArray[np.int64]] = []
        while length:
            epoch, position = divmod(start, len(self.tokens))
            taken = min(length, len(self.tokens) - position)
            self._read_in_epoch(self.epoch(epoch), position, position + taken, pieces, document_lengths)
            start, length = start + taken, length - taken
        ids = np.concatenate(pieces, dtype=np.int64, casting="unsafe")
        boundaries = np.zeros(sum(map(len, document_lengths)) + 1, dtype=np.int32)
        np.cumsum(np.concatenate(document_lengths), out=boundaries[1:])
        return ids, boundaries

    def _read_in_epoch(
        self,
        epoch: _Epoch,
        start: int,
        stop: int,
        pieces: list[NDArray[Any]],
        document_lengths: list[NDArray[np.int64]],
    ) -> None:
        first, last = np.searchsorted(epoch.ends, (start, stop - 1), side="right")
        blocks = epoch.blocks[first : last + 1]
        lows, highs = self.first_documents[blocks], self.first_documents[blocks + 1]
        begins, ends = self.offsets[lows], self.offsets[highs]
        begins[0] += start - (epoch.ends[first] - (ends[0] - begins[0]))
        ends[-1] -= epoch.ends[last] - stop
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            pieces.append(self.tokens[begin:end])
        documents = _concatenated_ranges(lows, highs)
        counts = highs - lows
        starts = np.maximum(self.offsets[documents], np.repeat(begins, counts))
        stops = np.minimum(self.offsets[documents + 1], np.repeat(ends, counts))
        inside = stops > starts
        document_lengths.append((stops - starts)[inside])


class PackedRows:
    """The rows of one split of a prepared corpus.

    `train` is endless: `row(i)` works for every i >= 0, and after any n rows each source has contributed its share of
    them, to within one row. `validation` is finite (`len`), in a fixed order, source after source, independent of the
    seed. Cheap to open, and safe to fork and pickle: only the arguments are pickled.
    """

    def __init__(self, folder: Path, split: Split, sequence_length: int, shuffle_seed: int) -> None:
        """Raises NotReady if the folder is incomplete or damaged, or has no full row for validation."""
        self._arguments = (folder, split, sequence_length, shuffle_seed)
        self.index = read_index(folder)
        self.split = split
        self.sequence_length = sequence_length
        self.names = tuple(self.index.sources)
        seed = shuffle_seed if split == "train" else None
        self._streams = [_Stream(*open_tokens(folder, self.index, split, name), seed, name) for name in self.names]
        if split == "train":
            parts = mix_parts([source.weight for source in self.index.sources.values()])
            self._parts = np.array(parts)
            self._cycle_sources, self._cycle_ranks = mix_cycle(parts)
        else:
            rows = [len(stream.tokens) // sequence_length for stream in self._streams]
            self._row_ends = np.cumsum(rows)
            if not self._row_ends[-1]:
                raise NotReady(f"{folder}: its validation documents fill no row of {sequence_length:,} tokens")

    def __reduce__(self) -> tuple[type[PackedRows], tuple[Path, Split, int, int]]:
        return PackedRows, self._arguments

    def __len__(self) -> int:
        if self.split == "train":
            raise TypeError("training rows are endless: take as many as the phase needs")
        return int(self._row_ends[-1])

    def place(self, i: int) -> tuple[int, int]:
        """Return (source number, row of that source's stream) for row i."""
        if i < 0 or (self.split == "validation" and i >= len(self)):
            raise IndexError(f"row {i} is outside this split")
        if self.split == "validation":
            source = int(np.searchsorted(self._row_ends, i, side="right"))
            return source, i - int(self._row_ends[source - 1]) if source else i
        cycle, position = divmod(i, len(self._cycle_sources))
        source = int(self._cycle_sources[position])
        return source, cycle * int(self._parts[source]) + int(self._cycle_ranks[position])

    def row(self, i: int) -> PackedRow:
        source, rank = self.place(i)
        ids, boundaries = self._streams[source].read(rank * self.sequence_length, self.sequence_length)
        return PackedRow(ids, boundaries, self.names[source])

    def epoch_of(self, rows: int) -> dict[str, float]:
        """Return how many epochs of each training source the first `rows` rows use."""
        cycles, position = divmod(rows, len(self._cycle_sources))
        used = np.bincount(self._cycle_sources[:position], minlength=len(self.names)) + cycles * self._parts
        lengths = [len(stream.tokens) for stream in self._streams]
        return {
            name: float(count * self.sequence_length / length)
            for name, count, length in zip(self.names, used, lengths, strict=True)
        }


def _block_starts(offsets: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return the first document of each of at most `most` blocks of similar size, then the number of documents."""
    documents = len(offsets) - 1
    if documents <= most:
        return np.arange(documents + 1)
    targets = np.linspace(0, int(offsets[-1]), most, endpoint=False).astype(np.int64)
    starts: NDArray[np.int64] = np.unique(np.append(np.searchsorted(offsets, targets, side="left"), documents))
    return starts


def _concatenated_ranges(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenate range(starts[0], stops[0]), range(starts[1], stops[1]) and so on."""
    lengths = stops - starts
    ends = np.cumsum(lengths)
    concatenated: NDArray[np.int64] = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
    return concatenated
