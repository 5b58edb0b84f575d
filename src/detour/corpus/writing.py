"""Writing the documents of one source, in the order they come: the first ones are set aside for validation."""

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

from detour.corpus.buckets import Documents
from detour.corpus.layout import DOCUMENTS, SPLITS, TOKENS, Split
from detour.files import fsync_directory, sha256_file

HEADER_BYTES = 128
"""What numpy pads the header of a one-dimensional file to, whatever its length."""


@dataclass(frozen=True, slots=True)
class WrittenSplit:
    tokens: int
    documents: int
    sha256: dict[str, str]
    """By file name."""


class SplitWriter:
    """tokens.bin and documents.npy, written as documents come, so that memory does not grow with them."""

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


def write_splits(folder: Path, documents: Iterable[Documents], validation_tokens: int) -> dict[Split, WrittenSplit]:
    """Whole documents go to `folder`/validation until it holds `validation_tokens`, the others to `folder`/train."""
    with ExitStack() as stack:
        writers = {split: stack.enter_context(SplitWriter(folder / split)) for split in SPLITS}
        train, validation = writers["train"], writers["validation"]
        for run in documents:
            ends = np.cumsum(run.lengths)
            wanted = validation_tokens - validation.tokens
            cut = int(np.searchsorted(ends, wanted, side="left")) + 1 if wanted > 0 else 0
            tokens_cut = int(ends[min(cut, len(ends)) - 1]) if cut else 0
            if cut:
                validation.append(run.tokens[:tokens_cut], run.lengths[:cut])
            if cut < len(ends):
                train.append(run.tokens[tokens_cut:], run.lengths[cut:])
        return {split: writer.finish() for split, writer in writers.items()}


def validation_share(validation_tokens: int, share: float, sequence_length: int) -> int:
    """What one source sets aside: its share of the whole, in full rows, one at least."""
    return max(1, round(validation_tokens * share / sequence_length)) * sequence_length
