from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRow, PackedRows
from detour.pretraining.objectives import (
    IGNORED,
    Objective,
    Vocabulary,
    causal_labels,
    make_example,
    mask_tokens,
    position_ids,
)

VOCABULARY = Vocabulary(size=1000, mask_id=4, special_ids=(0, 1, 2, 3, 4))
BOUNDARIES = np.array([0, 3, 4, 9], dtype=np.int32)
IDS = np.array([1, 10, 2, 7, 1, 20, 21, 22, 2])
CAUSAL, MASKED = Objective("causal"), Objective("masked", 0.3)


def test_causal_labels_are_the_next_tokens_of_the_same_document() -> None:
    expected = [10, 2, IGNORED, IGNORED, 20, 21, 22, 2, IGNORED]
    assert causal_labels(IDS, BOUNDARIES).tolist() == expected


def test_positions_restart_at_every_document() -> None:
    assert position_ids(BOUNDARIES).tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_masking_follows_its_rates(rate: float) -> None:
    generator = np.random.default_rng(0)
    ids = generator.integers(5, 1000, size=200_000)
    read, labels = mask_tokens(ids, rate, VOCABULARY, generator)
    chosen = labels != IGNORED
    assert chosen.mean() == pytest.approx(rate, abs=0.005)
    assert (labels[chosen] == ids[chosen]).all()
    assert (read[~chosen] == ids[~chosen]).all()
    masked = read[chosen] == VOCABULARY.mask_id
    kept = read[chosen] == ids[chosen]
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)
    random_ids = read[chosen][~masked & ~kept]
    assert random_ids.min() >= 0
    assert random_ids.max() < VOCABULARY.size
    assert len(set(random_ids.tolist())) > 900


def test_special_tokens_are_never_predicted() -> None:
    ids = np.tile(np.array(VOCABULARY.special_ids), 1000)
    read, labels = mask_tokens(ids, 0.99, VOCABULARY, np.random.default_rng(0), VOCABULARY.special_ids)
    assert (labels == IGNORED).all()
    assert (read == ids).all()


def test_masks_depend_only_on_seed_and_row() -> None:
    row = PackedRow(np.arange(5, 105), np.array([0, 100], dtype=np.int32), "source")
    first = make_example(row, MASKED, VOCABULARY, (17, 3))
    again = make_example(row, MASKED, VOCABULARY, (17, 3))
    assert (first.input_ids == again.input_ids).all()
    assert (first.labels == again.labels).all()
    for other in ((17, 4), (18, 3)):
        assert (make_example(row, MASKED, VOCABULARY, other).labels != first.labels).any()


def test_a_causal_example_leaves_the_row_unchanged() -> None:
    example = make_example(PackedRow(IDS, BOUNDARIES, "source"), CAUSAL, VOCABULARY, (17, 0))
    assert (example.input_ids == IDS).all()


@pytest.mark.parametrize(("maskable", "chosen"), [(False, {7, 20, 21}), (True, {1, 2, 7, 20, 21})])
def test_special_tokens_are_masked_only_if_the_recipe_says_so_and_padding_never(
    maskable: bool, chosen: set[int]
) -> None:
    row = PackedRow(np.array([1, 20, 21, 2, 1, 7, 2, 0]), np.array([0, 4, 7, 8], dtype=np.int32), "notes")
    objective = Objective("masked", 0.5, mask_special_tokens=maskable)
    examples = [make_example(row, objective, VOCABULARY, (0, number)) for number in range(200)]
    assert {int(label) for example in examples for label in example.labels} - {IGNORED} == chosen


def test_the_end_of_a_document_is_masked_also_if_it_is_the_padding_token(corpus: Path) -> None:
    index, objective = read_index(corpus), Objective("masked", 0.5, mask_special_tokens=True)
    padded_with_sep = index.special_tokens.model_copy(update={"pad": index.special_tokens.sep})
    rows = PackedRows(corpus, "train", index.sequence_length, 0)
    found = set()
    for special in (index.special_tokens, padded_with_sep):
        vocabulary = Vocabulary.of(index.model_copy(update={"special_tokens": special}))
        found.add(tuple(make_example(rows.row(0), objective, vocabulary, (0, 0)).labels))
    assert len(found) == 1
