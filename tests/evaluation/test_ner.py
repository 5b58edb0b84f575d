"""Entities are learnt and found in whole documents, and those that cannot be found are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detour.config.models import Task
from detour.errors import Interrupted
from detour.evaluation import evaluators, finetune
from detour.evaluation.ner import EntityRecognition
from detour.evaluation.ner_encoding import EncodedNer, encode_ner
from detour.ledger.attempt import Attempt
from detour.tasks.loading import load_task
from tests.evaluation.test_finetune import StoppedAt
from tests.support.layouts import ORGANS, texts


@pytest.fixture(scope="module")
def spans_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 documents of two lines; every organ is an entity, as is the text from it to the end of the first line."""
    rows = []
    for number, (text, named) in enumerate(texts(90, 3)):
        entities: list[dict[str, Any]] = [
            {"start": start, "end": start + len(word), "label": ORGANS[word]} for word, start in named
        ]
        outer = {"fragments": [[named[0][1], len(text)]], "label": "PART"}
        split = "train" if number < 60 else ("validation" if number < 75 else "test")
        rows.append({"text": f"{text}\nfin .", "entities": [*entities, outer], "split": split})
    path = tmp_path_factory.mktemp("ner") / "task.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def make_task(entities: str = "nested", **changes: Any) -> Task:
    labels = ["ANAT", "DISO", "CHEM"] if entities == "flat" else []
    return Task.model_validate(
        {
            "name": "organs",
            "type": "ner",
            "entities": entities,
            "data": {"path": "x", "reader": "spans", "split_column": "split", "entity_labels": labels},
            "max_length": 48,
            "steps": 50,
            "validate_every": 25,
            "batch_sequences": 12,
            "lr": 3e-3,
            "head_lr": 1e-2,
        }
        | changes
    )


def evaluate(task: Task, path: Path, model: Path, work: Path, attempt: Attempt | None = None) -> evaluators.Evaluation:
    work.mkdir(exist_ok=True)
    evaluation = evaluators.evaluate(task, [path], model, 42, work, attempt or Attempt())
    del evaluation.result["elapsed_s"]
    return evaluation


@pytest.mark.parametrize("entities", ["nested", "flat"])
def test_entities_are_learnt_and_located(entities: str, spans_file: Path, model_folder: Path, tmp_path: Path) -> None:
    evaluation = evaluate(make_task(entities), spans_file, model_folder, tmp_path / "work")
    test = evaluation.result["test"]
    assert test["micro_f1"] > 0.8
    assert test["exact_micro_f1"] == test["micro_f1"], "no entity is discontinuous"
    assert set(evaluation.result["classes"]) == {"ANAT", "DISO", "CHEM", *(["PART"] if entities == "nested" else [])}
    true = [{(label, str(places)) for label, places in row["truth"]} for row in evaluation.predictions]
    found = [{(label, str(places)) for label, places, _ in row["decided"]} for row in evaluation.predictions]
    both = sum(len(one & other) for one, other in zip(true, found, strict=True))
    recomputed = 2 * both / sum(len(one) + len(other) for one, other in zip(true, found, strict=True))
    assert test["micro_f1"] == pytest.approx(recomputed), "predictions are enough for any metric"
    if entities == "flat":
        assert test["strict_f1"] == pytest.approx(test["micro_f1"])


def test_repeated_and_resumed_runs_of_one_seed_are_identical(
    spans_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    task = make_task(steps=6, validate_every=2)
    first = evaluate(task, spans_file, model_folder, tmp_path / "first")
    assert evaluate(task, spans_file, model_folder, tmp_path / "second") == first
    with pytest.raises(Interrupted):
        evaluate(task, spans_file, model_folder, tmp_path / "stopped", StoppedAt(3))
    assert evaluate(task, spans_file, model_folder, tmp_path / "stopped") == first


def test_a_batch_that_does_not_fit_is_halved_and_learns_the_same(
    spans_file: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(steps=4, validate_every=4, gradient_clip=1)
    whole = evaluate(task, spans_file, model_folder, tmp_path / "whole")
    as_it_is, refused = EntityRecognition.loss, []

    def loss(self: EntityRecognition, model: Any, criterion: Any, batch: Any) -> torch.Tensor:
        if len(batch) > 3:
            refused.append(len(batch))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return as_it_is(self, model, criterion, batch)

    monkeypatch.setattr(EntityRecognition, "loss", loss)
    cut = evaluate(task, spans_file, model_folder, tmp_path / "cut")
    assert refused == [12, 6], "later steps keep the size that fits"
    assert cut.result["notes"][-1] == "batches were split into 4 parts to fit the memory"
    assert cut.result["history"][0]["train_loss"] == pytest.approx(whole.result["history"][0]["train_loss"], rel=1e-4)


def test_a_prediction_that_does_not_fit_is_halved_and_leaves_training_batches_whole(
    spans_file: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(steps=4, validate_every=2)
    whole = evaluate(task, spans_file, model_folder, tmp_path / "whole")
    as_it_is, refused = EntityRecognition.decide, []

    def decide(self: EntityRecognition, model: Any, split: Any, batch_items: int) -> Any:
        if batch_items > 12:
            refused.append(batch_items)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return as_it_is(self, model, split, batch_items)

    monkeypatch.setattr(EntityRecognition, "decide", decide)
    halved = evaluate(task, spans_file, model_folder, tmp_path / "halved")
    assert refused == [48, 24], "later predictions keep the size that fits"
    assert halved.result["history"] == whole.result["history"]
    assert halved.result["notes"] == whole.result["notes"]


def test_a_single_item_that_does_not_fit_ends_the_run(
    spans_file: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(EntityRecognition, "loss", loss)
    with pytest.raises(torch.OutOfMemoryError):
        evaluate(make_task(), spans_file, model_folder, tmp_path / "work")
    assert finetune.PREDICTION_BATCHES


def encoded(path: Path, model: Path, **changes: Any) -> EncodedNer:
    task = make_task(**changes)
    return encode_ner(load_task(task, [path]), task, model)


def write(path: Path, text: str, entities: list[Any]) -> Path:
    rows = [{"text": text, "entities": entities, "split": split} for split in ("train", "validation", "test")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_entities_that_cannot_be_found_are_counted_by_reason(model_folder: Path, tmp_path: Path) -> None:
    text = "coeur malade " * 20
    entities = [[0, 5, "A"], [1, 5, "A"], [0, 252, "A"], {"fragments": [[13, 18], [26, 31]], "label": "A"}]
    path = write(tmp_path / "task.jsonl", text, entities)
    reach = encoded(path, model_folder, max_length=24).test.reach
    assert (reach.entities, reach.cut, reach.unaligned, reach.discontinuous) == (4, 1, 1, 1)


def test_a_flat_task_keeps_the_longest_of_overlapping_entities_and_counts_the_others(
    model_folder: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "task.jsonl", "coeur malade", [[0, 5, "ANAT"], [0, 12, "DISO"], [0, 12, "DISO"]])
    data = encoded(path, model_folder, entities="flat")
    assert data.test.targets == [[(0, 1, data.labels.index("DISO"))]]
    assert (data.test.reach.entities, data.test.reach.overlapping) == (1, 1)


def test_very_long_and_empty_documents_lose_no_entity(model_folder: Path, tmp_path: Path) -> None:
    text = "\n".join("le coeur malade ." for _ in range(3000))
    places = [[line * 18 + 3, line * 18 + 8, "A"] for line in range(3000)]
    path = write(tmp_path / "task.jsonl", text, places)
    with path.open("a") as file:
        file.write(json.dumps({"text": "", "entities": [], "split": "test"}) + "\n")
    test = encoded(path, model_folder).test
    assert len(test.windows) > 100
    assert (test.reach.entities, test.reach.cut) == (3000, 0)
    found = [
        (window.places[first][0], window.places[last][1])
        for window, targets in zip(test.windows, test.targets, strict=True)
        for first, last, _ in targets
    ]
    assert found == [(start, end) for start, end, _ in places]
