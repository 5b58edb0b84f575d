from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRows
from detour.pretraining.batches import (
    Batch,
    Sharing,
    StepBatches,
    count_labels,
    count_rows,
    count_tokens,
)
from detour.pretraining.composer_seam import loader_of
from detour.pretraining.objectives import IGNORED, Objective, Vocabulary, make_example
from tests.pretraining.jobs import BATCH_ROWS, ROW_TOKENS

MASKED = Objective("masked", 0.3)


def stream(corpus: Path, sharing: Sharing, steps: range, microbatch_rows: int = 4) -> StepBatches:
    rows = PackedRows(corpus, "train", ROW_TOKENS, 42)
    return StepBatches(rows, MASKED, Vocabulary.of(read_index(corpus)), 17, sharing, steps, microbatch_rows)


def same(one: list[Batch], other: list[Batch]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a["input_ids"].equal(b["input_ids"]) and a["labels"].equal(b["labels"]) for a, b in pairs)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_rows_of_a_step_and_phases_those_of_the_corpus(world_size: int) -> None:
    used = [
        row
        for step in range(5)
        for rank in range(world_size)
        for row in Sharing(100, 8, rank, world_size).rows_of(step)
    ]
    assert used == list(range(100, 140))


def test_a_resumed_stream_reads_the_same_rows_as_an_uninterrupted_one(corpus: Path) -> None:
    sharing = Sharing(32, 4)
    whole = list(stream(corpus, sharing, range(6)))
    resumed = list(stream(corpus, sharing, range(4, 6)))
    assert all(same(expected, actual) for expected, actual in zip(whole[4:], resumed, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_deliver_steps_in_order(corpus: Path, workers: int) -> None:
    batches = stream(corpus, Sharing(0, 4), range(2, 7))
    made = loader_of(batches, workers)
    assert all(same(expected, actual) for expected, actual in zip(batches, made, strict=True))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_to_all_processes_of_a_job_ends_no_worker(corpus: Path, number: signal.Signals) -> None:
    """Slurm sends them to the whole step; the training then saves, for which it may need another batch."""
    batches = stream(corpus, Sharing(0, 4), range(40))
    made = iter(loader_of(batches, 2))
    found = [next(made), next(made)]
    workers = multiprocessing.active_children()
    for worker in workers:
        assert worker.pid is not None
        os.kill(worker.pid, number)
    found += made
    assert len(workers) == 2
    assert all(same(expected, actual) for expected, actual in zip(batches, found, strict=True))


def test_the_microbatches_of_a_step_add_up_to_it(corpus: Path) -> None:
    (parts,) = stream(corpus, Sharing(0, BATCH_ROWS), range(1), microbatch_rows=5)
    ((whole,),) = stream(corpus, Sharing(0, BATCH_ROWS), range(1), microbatch_rows=BATCH_ROWS)
    assert [count_rows(part) for part in parts] == [5, 5, 5, 1]
    for count in (count_rows, count_tokens, count_labels):
        assert sum(map(count, parts)) == count(whole) == count(parts)
    for name in ("input_ids", "position_ids", "labels"):
        assert torch.cat([part[name] for part in parts]).equal(whole[name])


def test_a_batch_marks_its_documents_and_labels(corpus: Path) -> None:
    ((whole,),) = stream(corpus, Sharing(0, BATCH_ROWS), range(1), microbatch_rows=BATCH_ROWS)
    starts = (whole["position_ids"].flatten() == 0).nonzero().flatten().tolist()
    assert whole["cu_seqlens"].tolist() == [*starts, BATCH_ROWS * ROW_TOKENS]
    assert whole["longest"] == int(whole["position_ids"].max()) + 1
    rows = PackedRows(corpus, "train", ROW_TOKENS, 42)
    vocabulary = Vocabulary.of(read_index(corpus))
    labels = np.concatenate([make_example(rows.row(i), MASKED, vocabulary, (17, i)).labels for i in range(BATCH_ROWS)])
    assert whole["labels"].tolist() == labels[labels != IGNORED].tolist()
    assert whole["label_positions"].tolist() == np.flatnonzero(labels != IGNORED).tolist()
