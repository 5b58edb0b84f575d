from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRows
from detour.pretraining.batches import (
    Sharing,
    StepExamples,
    collate,
    count_labels,
    count_rows,
    count_tokens,
    microbatches,
)
from detour.pretraining.objectives import IGNORED, Objective, Vocabulary
from tests.pretraining.jobs import BATCH_ROWS, ROW_TOKENS

MASKED = Objective("masked", 0.3)


def stream(corpus: Path, sharing: Sharing, steps: range) -> StepExamples:
    rows = PackedRows(corpus, "train", ROW_TOKENS, 42)
    return StepExamples(rows, MASKED, Vocabulary.of(read_index(corpus)), 17, sharing, steps)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_rows_of_a_step_and_phases_those_of_the_corpus(world_size: int) -> None:
    used = [
        row
        for step in range(5)
        for rank in range(world_size)
        for row in Sharing(100, 8, rank, world_size).rows_of(step)
    ]
    assert used == list(range(100, 140))


def test_a_resumed_stream_reads_what_the_undisturbed_one_would(corpus: Path) -> None:
    sharing = Sharing(32, 4)
    whole = list(stream(corpus, sharing, range(6)))
    resumed = list(stream(corpus, sharing, range(4, 6)))
    for expected, actual in zip(whole[4:], resumed, strict=True):
        for one, other in zip(expected, actual, strict=True):
            assert one.input_ids.tolist() == other.input_ids.tolist()
            assert one.labels.tolist() == other.labels.tolist()


def test_microbatches_hold_the_batch(corpus: Path) -> None:
    examples = next(iter(stream(corpus, Sharing(0, BATCH_ROWS), range(1))))
    whole = collate(examples)
    parts = microbatches(examples, 5)
    assert [count_rows(part) for part in parts] == [5, 5, 5, 1]
    for count in (count_rows, count_tokens, count_labels):
        assert sum(map(count, parts)) == count(whole) == count(examples)
    labels = np.concatenate([example.labels for example in examples])
    assert whole["labels"].tolist() == labels[labels != IGNORED].tolist()
    assert whole["label_positions"].tolist() == np.flatnonzero(labels != IGNORED).tolist()
    starts = (whole["position_ids"].flatten() == 0).nonzero().flatten().tolist()
    assert whole["cu_seqlens"].tolist() == [*starts, BATCH_ROWS * ROW_TOKENS]
