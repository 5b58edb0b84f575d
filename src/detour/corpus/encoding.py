"""Tokenise texts on all cores, in the order of the texts, independent of the number of workers.

Workers are fresh processes that hold only the tokenizer. Few batches are in flight at a time, so memory does not grow
with the corpus.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from detour.corpus.buckets import Documents
from detour.corpus.layout import SpecialTokens
from detour.corpus.tokenizer import document_tokenizer
from detour.errors import DetourError

BATCH_CHARACTERS = 1 << 18
BATCHES_UNDER_WAY = 4
"""Batches in flight per worker: enough to keep it busy while the reader opens the next file."""
PIECE_CHARACTERS = 1 << 20
"""Longest text passed to the tokenizer at once, which needs some hundred bytes per character."""
PR_SET_PDEATHSIG = 1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class Batch:
    texts: list[str]
    position: int
    """Bytes of the input files read up to its last text."""


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    documents: Documents
    position: int


class DocumentEncoder:
    """The tokenizer as applied to a corpus; see `document_tokenizer`."""

    def __init__(self, folder: Path, special: SpecialTokens, dtype: str) -> None:
        self.tokenizer: Tokenizer = document_tokenizer(folder, special)
        self.special = special
        self.dtype = np.dtype(dtype)

    def __call__(self, texts: list[str]) -> Documents:
        ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(_with_long_ones_emptied(texts))]
        for place, text in enumerate(texts):
            if len(text) > PIECE_CHARACTERS:
                ids[place] = self._long(text)
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        tokens = np.fromiter(chain.from_iterable(ids), dtype=self.dtype, count=int(lengths.sum()))
        return Documents(tokens, lengths)

    def _long(self, text: str) -> list[int]:
        pieces = [self.tokenizer.encode(piece, add_special_tokens=False).ids for piece in _pieces(text)]
        return [self.special.cls, *chain.from_iterable(pieces), self.special.sep]


Encode = Callable[[Iterable[Batch]], Iterator[EncodedBatch]]
"""Turns batches into their documents, in the same order."""


@contextmanager
def encoding_pool(folder: Path, special: SpecialTokens, dtype: str, workers: int) -> Iterator[Encode]:
    """Encode with the tokenizer saved in `folder`, in `workers` processes; a single worker is this process itself.

    Encoding raises DetourError if a worker dies, as happens when memory runs out.
    """
    if workers <= 1:
        encoder = DocumentEncoder(folder, special, dtype)
        yield lambda batches: (EncodedBatch(encoder(batch.texts), batch.position) for batch in batches)
        return
    executor = ProcessPoolExecutor(
        workers,
        # Not fork: the parent has threads, from the energy meter and the tokenizers library.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(folder, special, dtype, os.getpid()),
    )
    try:
        yield _Pool(executor, workers * BATCHES_UNDER_WAY).encode
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class _Pool:
    def __init__(self, executor: ProcessPoolExecutor, most_under_way: int) -> None:
        self._executor = executor
        self._most_under_way = most_under_way
        self._others = multiprocessing.active_children()

    def encode(self, batches: Iterable[Batch]) -> Iterator[EncodedBatch]:
        waiting: deque[tuple[Future[Documents], int]] = deque()
        try:
            for batch in batches:
                with _held_back(STOP_SIGNALS):  # a submission may start a worker
                    waiting.append((self._executor.submit(_encode_in_worker, batch.texts), batch.position))
                if len(waiting) >= self._most_under_way:
                    yield _result(waiting)
            while waiting:
                yield _result(waiting)
        except BrokenProcessPool as error:
            self._kill()  # the executor would send SIGTERM, which workers do not receive
            raise DetourError(
                "a tokenising process died, probably out of memory: request more, or fewer cores"
            ) from error

    def _kill(self) -> None:
        for process in multiprocessing.active_children():
            if process not in self._others:
                process.kill()


@contextmanager
def _held_back(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Block signals, so that processes started meanwhile never receive them: signals that Ctrl-C or Slurm send to the
    whole group are for the parent, which decides when to stop and receives them afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker_encoder: DocumentEncoder | None = None


def _start_worker(folder: Path, special: SpecialTokens, dtype: str, parent: int) -> None:
    global _worker_encoder
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker_encoder = DocumentEncoder(folder, special, dtype)


def _encode_in_worker(texts: list[str]) -> Documents:
    assert _worker_encoder is not None
    return _worker_encoder(texts)


def _result(waiting: deque[tuple[Future[Documents], int]]) -> EncodedBatch:
    future, position = waiting.popleft()
    return EncodedBatch(future.result(), position)


def _with_long_ones_emptied(texts: list[str]) -> list[str]:
    return ["" if len(text) > PIECE_CHARACTERS else text for text in texts]


def _pieces(text: str) -> Iterator[str]:
    """Split a text before spaces, where byte-level tokens begin anyway, or anywhere if there is no space."""
    start = 0
    while len(text) - start > PIECE_CHARACTERS:
        cut = text.rfind(" ", start + 1, start + PIECE_CHARACTERS)
        cut = cut if cut > start else start + PIECE_CHARACTERS
        yield text[start:cut]
        start = cut
    yield text[start:]
