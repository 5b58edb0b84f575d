from __future__ import annotations

import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from detour.corpus import packing
from detour.corpus.layout import DOCUMENTS, INDEX, TOKENS, open_tokens, read_index, source_folder
from detour.corpus.packing import PackedRows, _block_starts, _Stream
from detour.errors import NotReady
from tests.support.corpora import make_corpus

MIX = {"labels": 0.7, "notes": 0.2, "leaflets": 0.1}
CLS, SEP = 2, 3

Lengths = st.lists(st.integers(1, 40), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), weights=MIX, documents=400)


def stream_of(lengths: list[int], seed: int | None) -> _Stream:
    """The tokens of a document are their positions in the corpus, so that each is unique."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return _Stream(np.arange(offsets[-1], dtype=np.uint32), offsets, seed, "source")


def documents_of(tokens: NDArray[np.int64], boundaries: NDArray[np.int32]) -> list[list[int]]:
    return [tokens[a:b].tolist() for a, b in pairwise(boundaries)]


@settings(max_examples=60)
@given(Lengths, st.integers(1, 50), st.integers(0, 5), st.integers(1, 3))
def test_an_epoch_holds_every_token_once_and_documents_in_order(
    lengths: list[int], row_tokens: int, seed: int, epochs: int
) -> None:
    stream = stream_of(lengths, seed)
    total = sum(lengths)
    read: list[int] = []
    row = 0
    while len(read) < total * epochs:
        read.extend(stream.read(row * row_tokens, row_tokens)[0].tolist())
        row += 1
    for epoch in range(epochs):
        assert sorted(read[epoch * total : (epoch + 1) * total]) == list(range(total))


@settings(max_examples=60)
@given(Lengths, st.integers(1, 50), st.integers(0, 5))
def test_boundaries_only_separate_documents(lengths: list[int], row_tokens: int, seed: int) -> None:
    stream = stream_of(lengths, seed)
    offsets = stream.offsets.tolist()
    for row in range(2 * sum(lengths) // row_tokens + 1):
        tokens, boundaries = stream.read(row * row_tokens, row_tokens)
        assert boundaries[0] == 0
        assert boundaries[-1] == len(tokens) == row_tokens
        pieces = documents_of(tokens, boundaries)
        for number, piece in enumerate(pieces):
            document = int(np.searchsorted(offsets, piece[0], side="right")) - 1
            assert piece == list(range(piece[0], piece[0] + len(piece)))
            assert piece[-1] < offsets[document + 1]
            if number > 0:
                assert piece[0] == offsets[document]
            if number < len(pieces) - 1:
                assert piece[-1] == offsets[document + 1] - 1


@settings(max_examples=40)
@given(Lengths, st.integers(1, 50), st.permutations(range(12)))
def test_rows_do_not_depend_on_earlier_reads(lengths: list[int], row_tokens: int, order: list[int]) -> None:
    stream = stream_of(lengths, 7)
    asked = {row: stream.read(row * row_tokens, row_tokens) for row in order}
    for row, (tokens, boundaries) in asked.items():
        again = stream_of(lengths, 7).read(row * row_tokens, row_tokens)
        assert np.array_equal(tokens, again[0])
        assert np.array_equal(boundaries, again[1])


@given(st.lists(st.integers(1, 200), min_size=1, max_size=200), st.integers(1, 20))
def test_blocks_cover_all_documents_in_order(lengths: list[int], most: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    starts = _block_starts(offsets, most)
    assert starts[0] == 0
    assert starts[-1] == len(lengths)
    assert (np.diff(starts) > 0).all()
    assert len(starts) - 1 <= most or len(lengths) <= most


def test_large_corpora_are_shuffled_by_runs_of_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_BLOCKS", 8)
    stream = stream_of([5] * 100, 3)
    tokens, _ = stream.read(0, 500)
    assert len(stream.block_lengths) == 8
    assert sorted(tokens.tolist()) == list(range(500))
    assert (np.diff(tokens) != 1).sum() <= 7


def test_epochs_and_seeds_have_different_orders() -> None:
    first, second = (stream_of([3] * 50, 1).read(start, 150)[0].tolist() for start in (0, 150))
    other = stream_of([3] * 50, 2).read(0, 150)[0].tolist()
    assert sorted(first) == sorted(second) == sorted(other)
    assert first != second
    assert first != other


def test_a_row_longer_than_the_corpus_wraps_around(corpus: Path) -> None:
    rows = PackedRows(corpus, "train", 60_000, 42)
    row = rows.row(0)
    assert row.input_ids.shape == (60_000,)
    assert row.cu_seqlens[-1] == 60_000


def test_after_any_number_of_rows_each_source_has_its_share(corpus: Path) -> None:
    rows = PackedRows(corpus, "train", 64, 42)
    counts: Counter[str] = Counter()
    for i in range(500):
        counts[rows.row(i).source] += 1
        for name, share in MIX.items():
            assert abs(counts[name] - (i + 1) * share) < 1
    ranks = [rows.place(i) for i in range(500)]
    for source in range(len(MIX)):
        assert [rank for s, rank in ranks if s == source] == list(range(counts[rows.names[source]]))


def test_rows_hold_the_documents_of_the_corpus(corpus: Path) -> None:
    index = read_index(corpus)
    rows = PackedRows(corpus, "train", 256, 42)
    stored: dict[str, Counter[bytes]] = {}
    for name in index.sources:
        tokens, offsets = open_tokens(corpus, index, "train", name)
        stored[name] = Counter(tokens[a:b].astype(np.int64).tobytes() for a, b in pairwise(offsets))
    whole = 0
    for i in range(50):
        row = rows.row(i)
        for piece in documents_of(row.input_ids, row.cu_seqlens)[1:-1]:
            assert stored[row.source][np.array(piece, dtype=np.int64).tobytes()]
            assert piece[0] == CLS
            assert piece[-1] == SEP
            whole += 1
    assert whole > 200


def test_validation_is_finite_constant_and_disjoint_from_training(corpus: Path) -> None:
    rows = PackedRows(corpus, "validation", 128, 42)
    other_seed = PackedRows(corpus, "validation", 128, 43)
    assert len(rows) == sum(s.validation_tokens // 128 for s in rows.index.sources.values())
    assert {rows.row(i).source for i in range(len(rows))} == set(MIX)
    assert all(np.array_equal(rows.row(i).input_ids, other_seed.row(i).input_ids) for i in range(len(rows)))
    with pytest.raises(IndexError):
        rows.row(len(rows))


def test_training_rows_have_no_length_and_no_negative_index(corpus: Path) -> None:
    rows = PackedRows(corpus, "train", 128, 42)
    with pytest.raises(TypeError):
        len(rows)
    with pytest.raises(IndexError):
        rows.row(-1)


def test_only_paths_are_pickled(corpus: Path) -> None:
    rows = PackedRows(corpus, "train", 128, 42)
    data = pickle.dumps(rows)
    copy = pickle.loads(data)
    assert len(data) < 1000
    assert np.array_equal(copy.row(5).input_ids, rows.row(5).input_ids)


def test_epochs_are_counted(corpus: Path) -> None:
    rows = PackedRows(corpus, "train", 128, 42)
    used = rows.epoch_of(1003)
    for number, name in enumerate(rows.names):
        count = sum(rows.place(i)[0] == number for i in range(1003))
        assert used[name] == pytest.approx(count * 128 / rows.index.sources[name].train_tokens)


def _truncate_tokens(folder: Path) -> None:
    path = source_folder(folder, "train", "icd10") / TOKENS
    path.write_bytes(path.read_bytes()[:-2])


def _remove_offsets(folder: Path) -> None:
    (source_folder(folder, "train", "icd10") / DOCUMENTS).unlink()


def _empty_offsets(folder: Path) -> None:
    (source_folder(folder, "train", "icd10") / DOCUMENTS).write_bytes(b"")


def _remove_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def _break_index(folder: Path) -> None:
    (folder / INDEX).write_text('{"dtype": "float"}')


@pytest.mark.parametrize("damage", [_truncate_tokens, _remove_offsets, _empty_offsets, _remove_index, _break_index])
def test_a_damaged_corpus_is_named(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    folder = make_corpus(tmp_path / "corpus", documents=100)
    damage(folder)
    with pytest.raises(NotReady, match=str(tmp_path)):
        PackedRows(folder, "train", 128, 42)


def test_validation_text_shorter_than_a_row_is_an_error(corpus: Path) -> None:
    with pytest.raises(NotReady, match="fill no row of 100,000 tokens"):
        PackedRows(corpus, "validation", 100_000, 42)
