from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from detour.config.models import Task
from detour.errors import Interrupted, PermanentFailure
from detour.evaluation import evaluators, finetune
from detour.evaluation.classifier import EncoderClassifier, build_loss, load_encoder
from detour.evaluation.encoding import encode_task
from detour.evaluation.finetune_state import read_state
from detour.evaluation.sequences import Padded
from detour.evaluation.workload import build_optimizer, lr_factor
from detour.ledger.attempt import Attempt
from detour.tasks.loading import load_task
from tests.evaluation.conftest import make_multilabel_task, make_task


class StoppedAt(Attempt):
    """Asks to stop after `step` updates."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:
        super().progress(done, total, unit, **figures)
        if done == self.step:
            self.request_stop("wall-time limit")


def evaluate(
    task: Task, files: Path, model: Path, work_dir: Path, seed: int = 42, attempt: Attempt | None = None
) -> dict[str, Any]:
    """Return the result without its only figure that differs between runs."""
    work_dir.mkdir(exist_ok=True)
    evaluation = evaluators.evaluate(task, [files], model, seed, work_dir, attempt or Attempt())
    return {key: value for key, value in evaluation.result.items() if key != "elapsed_s"} | {
        "predictions": evaluation.predictions
    }


@pytest.mark.parametrize("make", [make_task, make_multilabel_task])
def test_a_learnable_task_is_learnt_and_scored_at_its_best_epoch(
    make: Any, task_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    untrained = evaluate(make(epochs=None, steps=1, lr=1e-9), task_file, model_folder, tmp_path / "untrained")
    result = evaluate(make(epochs=8), task_file, model_folder, tmp_path / "trained")
    metric = result["primary_metric"]
    assert result["test"][metric] > untrained["test"][metric] + 0.2
    assert result["history"][-1]["train_loss"] < 0.7 * result["history"][0]["train_loss"]
    assert [entry["epoch"] for entry in result["history"]] == [float(epoch) for epoch in range(1, 9)]
    best = max(result["history"], key=lambda entry: entry["validation"][metric])
    assert (result["best_epoch"], result["validation"]) == (best["epoch"], best["validation"])
    assert result["labels"] == ["cardio", "neuro", "pneumo"]
    right = [row["truth"] == row["decided"] for row in result["predictions"]]
    assert result["test"]["accuracy"] == pytest.approx(sum(right) / len(right))


def test_equal_seeds_give_identical_results_and_other_seeds_do_not(
    task_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    task = make_task(epochs=2)
    first = evaluate(task, task_file, model_folder, tmp_path / "first")
    assert first == evaluate(task, task_file, model_folder, tmp_path / "second")
    other = evaluate(task, task_file, model_folder, tmp_path / "other", seed=43)
    assert other["history"][0]["train_loss"] != first["history"][0]["train_loss"]


def test_every_validation_reports_the_score_that_chooses_the_best(
    task_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    reported: list[float | None] = []

    class Listening(Attempt):
        def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:  # noqa: ARG002
            if "validation_f1" in figures:
                reported.append(figures["validation_f1"])

    result = evaluate(make_task(epochs=2), task_file, model_folder, tmp_path / "w", attempt=Listening())
    assert reported == [entry["validation"]["macro_f1"] for entry in result["history"]]


@pytest.mark.parametrize("step", [1, 10, 14, 19])
def test_a_fine_tuning_stopped_at_any_step_resumes_to_the_same_result(
    step: int, task_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    task = make_multilabel_task(epochs=2, validate_every=7)
    uninterrupted = evaluate(task, task_file, model_folder, tmp_path / "uninterrupted")
    with pytest.raises(Interrupted, match=f"wall-time limit: saved after {step} of 20 steps"):
        evaluate(task, task_file, model_folder, tmp_path / "stopped", attempt=StoppedAt(step))
    assert evaluate(task, task_file, model_folder, tmp_path / "stopped") == uninterrupted
    assert list((tmp_path / "stopped").iterdir()) == []


def test_a_killed_fine_tuning_resumes_from_its_last_validation(
    task_file: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Attempt):
        def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:
            super().progress(done, total, unit, **figures)
            if done == 15:
                raise KeyboardInterrupt

    monkeypatch.setattr(finetune, "SAVE_EVERY_S", 0.0)
    task = make_task(epochs=2)
    uninterrupted = evaluate(task, task_file, model_folder, tmp_path / "uninterrupted")
    with pytest.raises(KeyboardInterrupt):
        evaluate(task, task_file, model_folder, tmp_path / "killed", attempt=Killed())
    assert read_state(tmp_path / "killed" / finetune.STATE).progress["step"] == 10
    assert evaluate(task, task_file, model_folder, tmp_path / "killed") == uninterrupted


@pytest.mark.parametrize("size", [0, 3000])
def test_a_fine_tuning_whose_saved_state_was_cut_short_starts_over(
    size: int, task_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    task = make_task(epochs=1)
    undisturbed = evaluate(task, task_file, model_folder, tmp_path / "undisturbed")
    with pytest.raises(Interrupted):
        evaluate(task, task_file, model_folder, tmp_path / "stopped", attempt=StoppedAt(5))
    os.truncate(tmp_path / "stopped" / finetune.STATE, size)
    assert evaluate(task, task_file, model_folder, tmp_path / "stopped") == undisturbed


def test_a_fine_tuning_whose_saved_weights_changed_on_disk_starts_over(
    task_file: Path, model_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = make_task(epochs=1)
    undisturbed = evaluate(task, task_file, model_folder, tmp_path / "undisturbed")
    with pytest.raises(Interrupted):
        evaluate(task, task_file, model_folder, tmp_path / "stopped", attempt=StoppedAt(5))
    with (tmp_path / "stopped" / finetune.STATE).open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 0x40]))
    assert evaluate(task, task_file, model_folder, tmp_path / "stopped") == undisturbed
    assert "the saved state is damaged, so the fine-tuning starts over" in caplog.text


def test_steps_and_their_validations_can_be_given_instead_of_epochs(
    task_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    task = make_task(epochs=None, steps=13, validate_every=5)
    result = evaluate(task, task_file, model_folder, tmp_path / "work")
    assert [(entry["step"], entry["epoch"]) for entry in result["history"]] == [(5, 0.5), (10, 1.0), (13, 1.3)]


def test_weights_that_produce_nan_end_the_stage_for_good(task_file: Path, model_folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model_folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = load_file(broken / "model.safetensors")
    weights["model.final_norm.weight"].fill_(math.nan)
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PermanentFailure, match="task organs, seed 42: the loss is nan at step 0"):
        evaluate(make_task(), task_file, broken, tmp_path / "work")


def test_weights_that_the_last_step_breaks_are_not_scored(task_file: Path, model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentFailure, match="task organs, seed 42: the last step gave weights with NaN"):
        evaluate(make_task(epochs=None, steps=1, lr=1e308), task_file, model_folder, tmp_path / "work")


def test_the_learning_rate_rises_during_warmup_and_then_falls_to_the_end() -> None:
    factors = [lr_factor(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10:] == pytest.approx([(100 - step) / 90 for step in range(10, 100)])
    assert lr_factor(0, 10, 0.0) == 1.0
    assert all(0 < lr_factor(step, 7, 1.0) <= 1 for step in range(7))


def test_the_head_can_have_its_own_learning_rate_and_only_matrices_decay(model_folder: Path) -> None:
    model = EncoderClassifier(load_encoder(model_folder), 3, "first")
    optimizer = build_optimizer(model, make_task(lr=1e-4, head_lr=1e-2, weight_decay=0.1))
    rates = {
        id(weight): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    assert len(rates) == len(list(model.parameters()))
    assert rates[id(model.head.weight)] == (1e-2, 0.1)
    assert rates[id(model.head.bias)] == (1e-2, 0.0)
    assert rates[id(model.encoder.final_norm.weight)] == (1e-4, 0.0)
    assert rates[id(model.encoder.layers[0].mlp.Wi.weight)] == (1e-4, 0.1)


def test_positives_are_weighted_by_their_rarity() -> None:
    """A label without positives or negatives is weighted as if it had one."""
    truth = torch.tensor([[1.0, 0, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 1]])
    loss = build_loss(make_multilabel_task(), truth)
    assert isinstance(loss, nn.BCEWithLogitsLoss)
    assert loss.pos_weight is not None
    assert loss.pos_weight.tolist() == pytest.approx([1 / 3, 3.0, 4.0, 1 / 4])
    plain = build_loss(make_multilabel_task(positive_weights=False), truth)
    assert isinstance(plain, nn.BCEWithLogitsLoss)
    assert plain.pos_weight is None


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_padding_changes_no_logit(pooling: Any, model_folder: Path) -> None:
    torch.manual_seed(0)
    model = EncoderClassifier(load_encoder(model_folder), 3, pooling).eval()
    ids = torch.tensor([[2, 50, 60, 70, 3]])
    padded, mask = torch.tensor([[2, 50, 60, 70, 3, 0, 0]]), torch.tensor([[1, 1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        alone, beside_padding = model(Padded(ids, torch.ones_like(ids))), model(Padded(padded, mask))
    torch.testing.assert_close(alone, beside_padding)


def test_an_export_in_bf16_is_trained_in_fp32(model_folder: Path, tmp_path: Path) -> None:
    model = EncoderClassifier(load_encoder(model_folder), 3, "mean")
    model.encoder.to(torch.bfloat16).save_pretrained(tmp_path)
    again = EncoderClassifier(load_encoder(tmp_path), 3, "mean")
    assert {weight.dtype for weight in again.parameters()} == {torch.float32}


def test_documents_are_cut_at_the_context_of_the_encoder(task_file: Path, model_folder: Path) -> None:
    documents = load_task(make_task(), [task_file])
    assert encode_task(documents, model_folder, 4096).max_length == 64
    cut = encode_task(documents, model_folder, 6)
    assert max(cut.train.lengths) == 6
    assert {(ids[0], ids[-1]) for ids in cut.train.token_ids} == {(2, 3)}  # [CLS] and [SEP] stay
