from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from detour.corpus import encoding
from detour.corpus.encoding import Batch, DocumentEncoder, EncodedBatch, _pieces, encoding_pool
from detour.corpus.layout import SpecialTokens
from detour.errors import DetourError
from tests.support.corpora import icd10_labels

SPECIAL = SpecialTokens(pad=0, unk=1, cls=2, sep=3, mask=4)


def batches(read: list[int]) -> Iterator[Batch]:
    """Return batches of unequal lengths, so that workers finish out of order."""
    labels = list(icd10_labels()[:600])
    for number in range(60):
        read.append(number)
        yield Batch(labels[number * 10 : number * 10 + 10] * (1 + 40 * (number % 3 == 0)), number)


def encoded(tokenizer: Path, workers: int) -> list[EncodedBatch]:
    with encoding_pool(tokenizer, SPECIAL, "uint16", workers) as encode:
        return list(encode(batches([])))


def test_the_number_of_workers_changes_no_result(tokenizer: Path) -> None:
    alone, shared = encoded(tokenizer, 1), encoded(tokenizer, 3)
    assert [batch.position for batch in shared] == list(range(60))
    for one, other in zip(alone, shared, strict=True):
        assert one.documents.tokens.dtype == np.uint16
        assert np.array_equal(one.documents.tokens, other.documents.tokens)
        assert np.array_equal(one.documents.lengths, other.documents.lengths)


def test_the_reader_stays_a_bounded_number_of_batches_ahead(tokenizer: Path) -> None:
    read: list[int] = []
    with encoding_pool(tokenizer, SPECIAL, "uint16", 2) as encode:
        for number, _ in enumerate(encode(batches(read))):
            assert len(read) <= number + 2 * encoding.BATCHES_UNDER_WAY


def test_workers_ignore_signals_meant_for_the_parent(tokenizer: Path) -> None:
    with encoding_pool(tokenizer, SPECIAL, "uint16", 2) as encode:
        results = encode(batches([]))
        next(results)
        for child in multiprocessing.active_children():
            assert child.pid
            os.kill(child.pid, signal.SIGTERM)
            os.kill(child.pid, signal.SIGINT)
        assert len(list(results)) == 59


def test_a_dead_worker_is_an_error(tokenizer: Path) -> None:
    with encoding_pool(tokenizer, SPECIAL, "uint16", 2) as encode:
        results = encode(batches([]))
        next(results)
        victim = multiprocessing.active_children()[0]
        assert victim.pid
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(DetourError, match="tokenising process died"):
            list(results)


def test_long_documents_are_only_split_for_the_tokenizer(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(icd10_labels()[:200])
    encoder = DocumentEncoder(tokenizer, SPECIAL, "uint16")
    whole = encoder(["avant", text, "après"])
    monkeypatch.setattr(encoding, "PIECE_CHARACTERS", 1000)
    pieces = encoder(["avant", text, "après"])
    assert np.array_equal(whole.tokens, pieces.tokens)
    assert np.array_equal(whole.lengths, pieces.lengths)


def test_pieces_join_to_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "PIECE_CHARACTERS", 8)
    for text in ("", "a", "a" * 30, "un deux trois quatre", " " * 20, "abcdefgh ijklmnop", "anticonstitutionnel le"):
        pieces = list(_pieces(text))
        assert "".join(pieces) == text
        assert all(0 < len(piece) <= 8 for piece in pieces) or text == ""


ORPHANS = """
import multiprocessing, sys, time
from pathlib import Path
from detour.corpus.encoding import Batch, encoding_pool
from detour.corpus.layout import SpecialTokens

with encoding_pool(Path(sys.argv[1]), SpecialTokens(pad=0, cls=2, sep=3, mask=4), "uint16", 2) as encode:
    for _ in encode(Batch(["texte"] * 100, 0) for _ in range(40)):
        pass
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    time.sleep(60)
"""


def test_workers_end_when_their_parent_is_killed(tokenizer: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHANS, str(tokenizer)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [Path("/proc") / pid for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        assert all(worker.exists() for worker in workers)
        parent.kill()
    deadline_s = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))


def is_alive(process: Path) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
