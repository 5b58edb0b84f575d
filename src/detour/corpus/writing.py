"""Write the documents of one source in the order given, setting some of the first aside for validation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from detour.corpus.buckets import RUN_DOCUMENTS, Documents
from detour.corpus.layout import DOCUMENTS, SPLITS, TOKENS, Split
from detour.files import fsync_directory, sha256_file

HEADER_BYTES = 128
"""Size to which numpy pads the header of a one-dimensional array of any length."""


@dataclass(frozen=True, slots=True)
class WrittenSplit:
    tokens: int
    documents: int
    sha256: dict[str, str]
    """Digests by file name."""


class SplitWriter:
    """Writes tokens.bin and documents.npy as documents arrive, so memory does not grow with them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.tokens = 0
        self.documents = 0
        self._digest = hashlib.sha256()
        self._stack = ExitStack()
        self._token_file: IO[bytes] = self._stack.enter_context((folder / TOKENS).open("wb"))
        self._document_file: IO[bytes] = self._stack.enter_context((folder / DOCUMENTS).open("wb"))
        self._document_file.write(bytes(HEADER_BYTES))
        self._document_file.write(np.zeros(1, dtype="<i8").tobytes())

    def __enter__(self) -> SplitWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def append(self, tokens: NDArray[Any], lengths: NDArray[np.int64]) -> None:
        data = np.ascontiguousarray(tokens).data
        self._token_file.write(data)
        self._digest.update(data)
        self._document_file.write((np.cumsum(lengths) + self.tokens).astype("<i8").data)
        self.tokens += len(tokens)
        self.documents += len(lengths)

    def finish(self) -> WrittenSplit:
        """Complete the header, sync both files and close them."""
        header = {"descr": "<i8", "fortran_order": False, "shape": (self.documents + 1,)}
        self._document_file.seek(0)
        np.lib.format.write_array_header_1_0(self._document_file, header)  # type: ignore[no-untyped-call]
        assert self._document_file.tell() == HEADER_BYTES
        for file in (self._token_file, self._document_file):
            file.flush()
            os.fsync(file.fileno())
        self._stack.close()
        fsync_directory(self.folder)
        digests = {TOKENS: self._digest.hexdigest(), DOCUMENTS: sha256_file(self.folder / DOCUMENTS)}
        return WrittenSplit(self.tokens, self.documents, digests)


def set_aside(lengths: NDArray[np.int64], wanted: int) -> NDArray[np.bool_]:
    """Return true for the documents of the validation split: the first ones that together hold `wanted` tokens.

    A document longer than `wanted` goes to training, so that a book does not fill the split. If the others do not
    suffice, the shortest of the long ones are taken.
    """
    chosen = np.zeros(len(lengths), dtype=np.bool_)
    missing = wanted
    for start in range(0, len(lengths), RUN_DOCUMENTS):
        short = np.where(lengths[start : start + RUN_DOCUMENTS] <= wanted, lengths[start : start + RUN_DOCUMENTS], 0)
        ends = np.cumsum(short)
        chosen[start : start + RUN_DOCUMENTS] = (short > 0) & (ends - short < missing)
        missing -= int(ends[-1])
        if missing <= 0:
            return chosen
    long = np.flatnonzero(lengths > wanted)
    by_length = long[np.argsort(lengths[long], kind="stable")]
    ends = np.cumsum(lengths[by_length])
    chosen[by_length[: int(np.searchsorted(ends, missing)) + 1]] = True
    return chosen


def write_splits(
    folder: Path, documents: Iterable[Documents], aside: NDArray[np.bool_], kept: NDArray[np.bool_] | None = None
) -> dict[Split, WrittenSplit]:
    """Write the `kept` documents whole: those `aside` to `folder`/validation, the others to `folder`/train."""
    with ExitStack() as stack:
        writers = {split: stack.enter_context(SplitWriter(folder / split)) for split in SPLITS}
        done = 0
        for run in documents:
            here = slice(done, done := done + len(run.lengths))
            wanted = np.ones(len(run.lengths), dtype=np.bool_) if kept is None else kept[here]
            for split in SPLITS:
                chosen = wanted & (aside[here] if split == "validation" else ~aside[here])
                if chosen.any():
                    tokens = run.tokens if chosen.all() else run.tokens[np.repeat(chosen, run.lengths)]
                    writers[split].append(tokens, run.lengths[chosen])
        return {split: writer.finish() for split, writer in writers.items()}


def validation_share(validation_tokens: int, share: float, sequence_length: int) -> int:
    """Return the validation tokens of one source: its share of the total, in full rows, at least one row."""
    return max(1, round(validation_tokens * share / sequence_length)) * sequence_length
