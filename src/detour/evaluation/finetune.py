"""Fine-tune an exported encoder on one task with one seed; score the weights with the best validation once, on test.

All randomness is a function of the seed and the step, so an interrupted and resumed run ends with the same scores as an
uninterrupted one (on CPU bit for bit with the same number of threads, on CUDA up to the rounding of its kernels). A
stop request is honoured before the next step, by saving the whole state in the work folder. To survive a kill, the
state is also saved at validations, at most every five minutes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from detour.config.models import Task
from detour.errors import Interrupted, PermanentFailure
from detour.evaluation.batches import Indices, shuffled_batches
from detour.evaluation.finetune_state import FineTuningState, UnusableState, read_state, write_state
from detour.evaluation.mode import mode_for, predicting, use
from detour.evaluation.sequences import Mode
from detour.evaluation.workload import Held, Workload, build_optimizer, lr_factor
from detour.ledger.attempt import Attempt

Made = TypeVar("Made")
LOGGER = logging.getLogger("detour.evaluation")
PREDICTION_BATCHES = 4
"""Size of a prediction batch in training batches: without gradients, more documents fit."""
SAVE_EVERY_S = 300.0
STATE = "state.safetensors"


@dataclass(slots=True)
class Progress:
    """The state of a run, apart from its weights and optimizer."""

    step: int = 0
    """Number of completed updates."""
    losses: list[float] = field(default_factory=list)
    """Losses of the steps since the last validation."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per validation: step, epoch (may be fractional), train_loss (mean since the last one), scores."""
    elapsed_s: float = 0.0
    """Time in all attempts, up to the last save."""
    parts: int = 1
    """Number of parts into which a training batch is split to fit the device's memory."""


@dataclass(frozen=True, slots=True)
class Outcome:
    best: dict[str, Any]
    """The history entry of the tested weights."""
    test: dict[str, float]
    decided: Any
    """The workload's decisions for the test documents."""
    history: list[dict[str, Any]]
    elapsed_s: float
    parts: int
    """Number of parts into which training batches were split to fit the memory; 1 if they were not."""


def default_generator(device: torch.device) -> torch.Generator:
    """The generator of dropout. `torch.manual_seed` would seed all devices and, until CUDA is initialized, record the
    call stack of every call: a millisecond per step."""
    if device.type != "cuda":
        return torch.default_generator
    return torch.cuda.default_generators[torch.cuda.current_device()]


class FineTuning:
    """The fine-tuning of one (task, seed); `run` returns its `Outcome`."""

    def __init__(
        self,
        model_folder: Path,
        task: Task,
        workload: Workload,
        seed: int,
        work_dir: Path,
        attempt: Attempt,
        mode: Mode | None = None,
    ) -> None:
        """`mode`: None for the one that suits this device."""
        self.task, self.workload, self.seed, self.attempt = task, workload, seed, attempt
        self.state_path = work_dir / STATE
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(seed)
        self.model = workload.build_model(model_folder).to(self.device)
        use(mode or mode_for(self.model, self.device), self.model)
        self.model.train()
        self.weights = list(self.model.parameters())
        self.dropout = default_generator(self.device)
        self.optimizer = build_optimizer(self.model, task)
        self.loss = workload.build_loss(self.device)
        self.epoch_steps = math.ceil(len(workload.train_lengths) / task.batch_sequences)
        self.steps = task.steps or self.epoch_steps * (task.epochs or 0)
        self.progress = Progress()
        self.prediction_parts = 1
        self.best_weights: dict[str, torch.Tensor] = {}

    def run(self) -> Outcome:
        """Train, validate and test. Raises Interrupted after a stop request, PermanentFailure for a non-finite loss."""
        self._resume()
        self.saved_at = time.monotonic()
        self.started_at = self.saved_at - self.progress.elapsed_s
        validate_every = self.task.validate_every or self.epoch_steps
        for batch in islice(self._batches(), self.steps - self.progress.step):
            self._stop_if_asked()
            self.update(batch)
            if self.progress.step % validate_every == 0 or self.progress.step == self.steps:
                self._validate()
        self._require_finite(self.best_weights)
        self.model.load_state_dict(self.best_weights)
        decided = self.decide("test")
        self.state_path.unlink(missing_ok=True)
        return Outcome(
            best=self._best(),
            test=self.workload.scores("test", decided),
            decided=decided,
            history=self.progress.history,
            elapsed_s=time.monotonic() - self.started_at,
            parts=self.progress.parts,
        )

    def _batches(self) -> Iterator[Indices]:
        """Endless batches, epoch after epoch, from the current step on."""
        first, done = divmod(self.progress.step, self.epoch_steps)
        for epoch in count(first):
            order = (self.seed, epoch)
            yield from shuffled_batches(self.workload.train_lengths, self.task.batch_sequences, order)[done:]
            done = 0

    def _stop_if_asked(self) -> None:
        if reason := self.attempt.stop_reason:
            self._save()
            raise Interrupted(f"{reason}: saved after {self.progress.step} of {self.steps} steps")

    def update(self, batch: Indices) -> None:
        """One training step on a batch."""
        step = self.progress.step
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * lr_factor(step, self.steps, self.task.warmup)
        value, self.progress.parts = self._fitting(
            lambda parts: self._gradients(batch, parts), self.progress.parts, most=len(batch)
        )
        if not math.isfinite(value):
            raise PermanentFailure(f"task {self.task.name}, seed {self.seed}: the loss is {value} at step {step}")
        if self.task.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.weights, self.task.gradient_clip)
        self.optimizer.step()
        self.progress.step += 1
        self.progress.losses.append(value)
        self.attempt.progress(self.progress.step, self.steps, "steps", loss=value)

    def _gradients(self, batch: Indices, parts: int) -> float:
        """Compute the gradients of the batch's mean loss, in parts if necessary, and return that loss."""
        self.optimizer.zero_grad()
        self.dropout.manual_seed(self.seed * 1_000_003 + self.progress.step)
        split = np.array_split(batch, min(parts, len(batch)))
        whole, value = self.workload.weight(batch), 0.0
        for part in split:
            loss = self.workload.loss(self.model, self.loss, part)
            if len(split) > 1:
                loss = loss * (self.workload.weight(part) / whole)
            loss.backward()  # type: ignore[no-untyped-call]
            value += float(loss.item())
        return value

    def _fitting(self, act: Callable[[int], Made], parts: int, *, most: int) -> tuple[Made, int]:
        """`act(parts)` and `parts`, doubled until it fits the device's memory."""
        while True:
            try:
                return act(parts), parts
            except torch.OutOfMemoryError:
                if parts >= most:
                    raise
            parts *= 2
            self.optimizer.zero_grad()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            LOGGER.warning("batches are cut into %d parts: they do not fit the memory whole", parts)

    def _validate(self) -> None:
        progress = self.progress
        validation = self.workload.scores("validation", self.decide("validation"))
        entry = {
            "step": progress.step,
            "epoch": progress.step / self.epoch_steps,
            "train_loss": sum(progress.losses) / len(progress.losses),
            "validation": validation,
        }
        progress.history.append(entry)
        progress.losses = []
        if self._best() is entry:
            self.best_weights = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        figures = {f"validation_{metric}": score for metric, score in validation.items()}
        figures["validation_f1"] = validation[self.workload.primary_metric]
        self.attempt.progress(progress.step, self.steps, "steps", **figures)
        if time.monotonic() - self.saved_at > SAVE_EVERY_S:
            self._save()

    def _best(self) -> dict[str, Any]:
        """The validation with the highest primary score; the first one in a tie."""
        metric = self.workload.primary_metric
        return max(self.progress.history, key=lambda entry: float(entry["validation"][metric]))

    def _require_finite(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Raises PermanentFailure for weights that the last step broke; otherwise the next loss would have shown it."""
        if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
            raise PermanentFailure(f"task {self.task.name}, seed {self.seed}: the last step gave weights with NaN")

    @torch.no_grad()
    def decide(self, split: Held) -> Any:
        """Decisions of the current weights for the documents of a split."""
        self.model.eval()
        most = PREDICTION_BATCHES * self.task.batch_sequences
        with predicting():
            decided, self.prediction_parts = self._fitting(
                lambda parts: self.workload.decide(self.model, split, max(1, most // parts)),
                max(self.prediction_parts, self.progress.parts),
                most=most,
            )
        self.model.train()
        return decided

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        self.progress.elapsed_s = self.saved_at - self.started_at
        state = FineTuningState(
            progress=asdict(self.progress),
            model=self.model.state_dict(),
            best=self.best_weights,
            optimizer=self.optimizer.state_dict()["state"],
        )
        write_state(self.state_path, state)

    def _resume(self) -> None:
        if not self.state_path.is_file():
            return
        try:
            state = read_state(self.state_path)
        except UnusableState as error:
            LOGGER.warning("the saved state is damaged, so the fine-tuning starts over: %s", error)
            return
        self.progress = Progress(**state.progress)
        self.model.load_state_dict(state.model)
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state.optimizer})
        self.best_weights = dict(state.best)
