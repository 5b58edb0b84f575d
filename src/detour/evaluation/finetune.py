"""Fine-tune an exported encoder on one task with one seed; score the weights that validate best, once, on test.

All randomness is a function of the seed and the step, so a run that is stopped anywhere and resumed ends with the
scores of an undisturbed one (bit for bit on CPU with as many threads; on CUDA up to the rounding of its kernels). A
stop request is met before the next step: the whole state goes to the work folder. Against kills that cannot be met,
it also goes there at a validation when five minutes have passed since it last did.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detour.config.models import Task
from detour.errors import Interrupted, PermanentFailure
from detour.evaluation.batches import Indices, pad, shuffled_batches, sorted_batches
from detour.evaluation.classifier import EncoderClassifier, build_loss, build_optimizer, lr_factor
from detour.evaluation.encoding import EncodedSplit, EncodedTask
from detour.evaluation.metrics import PRIMARY_METRIC, Matrix, decide, scores
from detour.files import atomic_writer
from detour.ledger.attempt import Attempt

PREDICTION_BATCHES = 4
"""Training batches predicted at a time: without gradients more documents fit."""
SAVE_EVERY_S = 300.0


@dataclass(slots=True)
class Progress:
    """Where a run stands, beside its weights and its optimizer."""

    step: int = 0
    """Updates done."""
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last validation."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry a validation: step, epoch (may be fractional), train_loss (mean since the last), validation scores."""
    elapsed_s: float = 0.0
    """Over all attempts, up to the last save."""


@dataclass(frozen=True, slots=True)
class Outcome:
    best: dict[str, Any]
    """The history's entry of the weights that were tested."""
    test: dict[str, float]
    test_decisions: Matrix
    """(documents, labels), in the split's order."""
    history: list[dict[str, Any]]
    elapsed_s: float


class FineTuning:
    """One (task, seed): build it, then `run` it to an `Outcome`."""

    def __init__(
        self, model_folder: Path, task: Task, data: EncodedTask, seed: int, work_dir: Path, attempt: Attempt
    ) -> None:
        self.task, self.data, self.seed, self.attempt = task, data, seed, attempt
        self.state_path = work_dir / "state.pt"
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(seed)
        self.model = EncoderClassifier(model_folder, len(data.labels), task.pooling).to(self.device)
        self.optimizer = build_optimizer(self.model, task)
        self.loss = build_loss(task, torch.from_numpy(data.train.truth).float()).to(self.device)
        self.epoch_steps = math.ceil(len(data.train.token_ids) / task.batch_sequences)
        self.steps = task.steps or self.epoch_steps * (task.epochs or 0)
        self.progress = Progress()
        self.best_weights: dict[str, torch.Tensor] = {}

    def run(self) -> Outcome:
        """Raises Interrupted once a stop request has been met, PermanentFailure when the loss is not finite."""
        self._resume()
        self.saved_at = time.monotonic()
        self.started_at = self.saved_at - self.progress.elapsed_s
        validate_every = self.task.validate_every or self.epoch_steps
        for batch in islice(self._batches(), self.steps - self.progress.step):
            self._stop_if_asked()
            self._update(batch)
            if self.progress.step % validate_every == 0 or self.progress.step == self.steps:
                self._validate()
        self.model.load_state_dict(self.best_weights)
        decisions = self._decide(self.data.test)
        self.state_path.unlink(missing_ok=True)
        return Outcome(
            best=self._best(),
            test=scores(self.data.test.truth, decisions, self.task.type),
            test_decisions=decisions,
            history=self.progress.history,
            elapsed_s=time.monotonic() - self.started_at,
        )

    def _batches(self) -> Iterator[Indices]:
        """Epoch after epoch without end, from the step reached."""
        first, done = divmod(self.progress.step, self.epoch_steps)
        for epoch in count(first):
            order = (self.seed, epoch)
            yield from shuffled_batches(self.data.train.lengths, self.task.batch_sequences, order)[done:]
            done = 0

    def _stop_if_asked(self) -> None:
        if reason := self.attempt.stop_reason:
            self._save()
            raise Interrupted(f"{reason}: saved after {self.progress.step} of {self.steps} steps")

    def _update(self, batch: Indices) -> None:
        step = self.progress.step
        torch.manual_seed(self.seed * 1_000_003 + step)  # dropout, in encoders that have it
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * lr_factor(step, self.steps, self.task.warmup)
        self.model.train()
        truth = torch.from_numpy(self.data.train.truth[batch]).float().to(self.device)
        loss = self.loss(self._logits(self.data.train, batch), truth)
        value = float(loss.item())
        if not math.isfinite(value):
            raise PermanentFailure(f"task {self.task.name}, seed {self.seed}: the loss is {value} at step {step}")
        loss.backward()
        if self.task.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.task.gradient_clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.progress.step += 1
        self.progress.losses.append(value)
        self.attempt.progress(self.progress.step, self.steps, "steps", loss=value)

    def _validate(self) -> None:
        progress = self.progress
        decisions = self._decide(self.data.validation)
        validation = scores(self.data.validation.truth, decisions, self.task.type)
        entry = {
            "step": progress.step,
            "epoch": progress.step / self.epoch_steps,
            "train_loss": sum(progress.losses) / len(progress.losses),
            "validation": validation,
        }
        progress.history.append(entry)
        progress.losses = []
        if self._best() is entry:
            self.best_weights = {name: weight.to("cpu", copy=True) for name, weight in self.model.state_dict().items()}
        figures = {f"validation_{metric}": score for metric, score in validation.items()}
        self.attempt.progress(progress.step, self.steps, "steps", **figures)
        if time.monotonic() - self.saved_at > SAVE_EVERY_S:
            self._save()

    def _best(self) -> dict[str, Any]:
        """The validation of the highest primary score, the first among equals."""
        metric = PRIMARY_METRIC[self.task.type]
        return max(self.progress.history, key=lambda entry: float(entry["validation"][metric]))

    def _logits(self, split: EncodedSplit, batch: Indices) -> torch.Tensor:
        ids, mask = pad([split.token_ids[index] for index in batch], self.data.padding_id)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.model(torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device))
        return logits.float()  # type: ignore[no-any-return]

    @torch.no_grad()
    def _decide(self, split: EncodedSplit) -> Matrix:
        self.model.eval()
        logits = np.empty(split.truth.shape, dtype=np.float32)
        for batch in sorted_batches(split.lengths, PREDICTION_BATCHES * self.task.batch_sequences):
            logits[batch] = self._logits(split, batch).cpu().numpy()
        return decide(logits, self.task.type, self.task.threshold)

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        self.progress.elapsed_s = self.saved_at - self.started_at
        state = {
            "progress": asdict(self.progress),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best_weights": self.best_weights,
        }
        with atomic_writer(self.state_path) as file:
            torch.save(state, file)

    def _resume(self) -> None:
        if not self.state_path.is_file():
            return
        state = torch.load(self.state_path, map_location="cpu", weights_only=True)
        self.progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best_weights = state["best_weights"]
