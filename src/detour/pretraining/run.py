"""Everything around a training step: learning rate, random seed, clipping, metrics, validation, checkpoints, stops."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import takewhile
from math import isfinite

import torch
from torch import Tensor, nn
from transformers import ModernBertForMaskedLM

from detour.checkpoints.store import Checkpoint, CheckpointStore
from detour.checkpoints.trainer_state import write_trainer_state
from detour.config.models import Phase
from detour.corpus.layout import Index
from detour.corpus.packing import PackedRows
from detour.disk import with_room
from detour.errors import PermanentFailure
from detour.flops import Shape
from detour.ledger.events import CheckpointSaved, GradientSkipped
from detour.pretraining.batches import Batch, training_flops
from detour.pretraining.composer_seam import Loop
from detour.pretraining.device import peak_flops, use_bf16
from detour.pretraining.job import PretrainJob, Recorder, say
from detour.pretraining.loss import CrossEntropy, language_model_loss
from detour.pretraining.objectives import Objective, Vocabulary
from detour.pretraining.optimizer import set_lr
from detour.pretraining.ranks import Ranks
from detour.pretraining.saving import BackgroundWriter
from detour.pretraining.schedules import lr_factor
from detour.pretraining.state import copy_state
from detour.pretraining.validation import validation_sums

NON_FINITE_IN_A_ROW = 3
"""A step with a non-finite gradient is skipped; this many in a row end the phase."""
STEP_SEED_STRIDE = 1_000_003
"""Separates the random streams of different seeds; any large prime would do."""


class LossOf(nn.Module):
    """Maps a batch to its mean loss; a module, so that DDP can wrap it."""

    def __init__(self, model: ModernBertForMaskedLM, objective: Objective, cross_entropy: CrossEntropy) -> None:
        super().__init__()
        self.model = model
        self.causal, self.cross_entropy = objective.causal, cross_entropy

    def forward(self, batch: Batch) -> Tensor:
        return language_model_loss(self.model, batch, causal=self.causal, cross_entropy=self.cross_entropy)


class Run:
    """The `Hooks` of one attempt: called around every step, identically on all ranks."""

    def __init__(
        self,
        job: PretrainJob,
        attempt: Recorder,
        ranks: Ranks,
        store: CheckpointStore,
        index: Index,
        model: ModernBertForMaskedLM,
        optimizer: torch.optim.Optimizer,
        newest: Checkpoint | None,
        microbatch_rows: int,
    ) -> None:
        self.microbatch_rows = microbatch_rows
        self.job, self.attempt, self.ranks, self.store = job, attempt, ranks, store
        self.model, self.optimizer = model, optimizer
        self.bf16 = use_bf16(job.precision, ranks.device)
        self.validation_rows = PackedRows(job.corpus, "validation", job.sequence_length, job.seeds.shuffle)
        self.vocabulary, self.objective = Vocabulary.of(index), Objective.of(job.phase)
        figures = dict(newest.figures) if newest else {}
        self.first_step = self.steps_done = newest.step if newest else 0
        self.writer = BackgroundWriter()
        self.saved: Checkpoint | None = None
        self.stop_reason: str | None = None
        self.train_s: float = figures.get("train_s", 0.0)
        self.validation_start: float | None = figures.get("validation_loss_start")
        self.validation: float | None = None
        self.gradient_norms: list[float | None] = list(figures.get("gradient_norms", []))
        self.lr, self.gradient_norm = 0.0, 0.0
        self.non_finite = len(list(takewhile(lambda norm: norm is None, reversed(self.gradient_norms))))
        self.clock_s = 0.0
        self.shape = Shape.from_config(model.config.to_dict())
        self.peak_flops = peak_flops(ranks.device) if self.bf16 else None
        self.flops = 0.0
        """FLOPs of the current step on this rank."""

    def loop(self) -> Loop:
        job = self.job
        return Loop(
            first_step=self.first_step,
            steps=job.steps,
            rows_per_step=job.batch_sequences,
            tokens_per_step=job.step_tokens,
            microbatch_rows=self.microbatch_rows,
            bf16=self.bf16,
            seed=job.seeds.training,
            loggers=job.training.loggers,
            log_folder=job.work_dir / "logs",
            run_name=job.name,
        )

    def start(self) -> None:
        if self.validation_start is None:
            self.validation_start = self.validation = self._validate()
            self._progress(validation_loss=self.validation)
        self.clock_s = time.perf_counter()

    # Hooks, in call order.

    def before_step(self, step: int, batches: Sequence[Batch]) -> None:
        job = self.job
        if not self.ranks.any(any(len(batch["labels"]) for batch in batches)):
            raise _nothing_to_predict(f"the rows of step {step + 1:,}", job.phase, "batch.sequences")
        self.lr = job.optimizer.lr * lr_factor(job.phase.schedule, step, job.steps, job.warmup_steps)
        set_lr(self.optimizer, self.lr)
        self.flops = training_flops(self.shape, batches, causal=self.objective.causal)
        position = job.seeds.training * STEP_SEED_STRIDE + step
        torch.manual_seed(position * self.ranks.world_size + self.ranks.rank)

    def after_backward(self) -> None:
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.job.optimizer.gradient_clip))
        self.gradient_norm = norm
        if isfinite(norm):
            self.non_finite = 0
            return
        self.non_finite += 1
        self.attempt.event(GradientSkipped(step=self.steps_done, in_a_row=self.non_finite))
        if self.non_finite >= NON_FINITE_IN_A_ROW:
            raise PermanentFailure(
                f"the gradient was not finite in {self.non_finite} steps in a row, up to step {self.steps_done:,}: "
                "a lower `optimizer.lr` or cleaner data are needed"
            )
        for parameter in parameters:
            parameter.grad = None  # the optimizer then skips the parameter and its moments

    def after_step(self, steps_done: int, loss: float) -> dict[str, float]:
        now_s = time.perf_counter()
        step_s, self.steps_done = now_s - self.clock_s, steps_done
        self.gradient_norms.append(self.gradient_norm if isfinite(self.gradient_norm) else None)
        self.train_s += step_s
        figures = {
            "loss": loss,
            "lr": self.lr,
            "gradient_norm": self.gradient_norm,
            "tokens_per_s": self.job.step_tokens / step_s,
        }
        if self.peak_flops is not None:
            figures["mfu"] = self.flops / step_s / self.peak_flops
        self._progress(**figures)
        reason = self.attempt.stop_reason
        if self.ranks.any(reason is not None):
            self.stop_reason = self.ranks.from_main(reason) or "stop requested on another rank"
        figures |= self._validate_and_save(loss)
        self.clock_s = time.perf_counter()
        return figures

    @property
    def stopping(self) -> bool:
        return self.stop_reason is not None

    def _validate_and_save(self, loss: float) -> dict[str, float]:
        """Validate, then save: the last checkpoint holds the final metrics, so a finished phase needs no more work."""
        training, steps_done = self.job.training, self.steps_done
        done = steps_done == self.job.steps
        if done:
            self.stop_reason = None
        due = training.validate_every is not None and steps_done % training.validate_every == 0
        measured: dict[str, float] = {}
        if done or (due and not self.stopping):
            self.validation = self._validate()
            measured = {"validation_loss": self.validation}
            self._progress(loss=loss, **measured)
        last = done or self.stopping
        if last or steps_done % training.checkpoint_every == 0:
            self._save(loss, at_once=last)
        return measured

    def _validate(self) -> float:
        rows = self.validation_rows
        total, tokens = validation_sums(
            self.model,
            rows,
            self.objective,
            self.vocabulary,
            range(self.ranks.rank, len(rows), self.ranks.world_size),
            autocast=torch.bfloat16 if self.bf16 else None,
        )
        total, tokens_of_all = self.ranks.sum([total, float(tokens)])
        if not tokens_of_all:
            what = f"the {len(rows):,} validation rows of {rows.sequence_length:,} tokens"
            raise _nothing_to_predict(what, self.job.phase, "data.validation_tokens")
        return total / tokens_of_all

    def _save(self, loss: float, *, at_once: bool) -> None:
        """Write from rank 0, either `at_once` or in the background during the next steps.

        At the end of an attempt the other ranks wait, so that none of them times out in a reduction.
        """
        if self.ranks.is_main:
            self._write_checkpoint(loss, at_once=at_once)
        if at_once:
            self.saved = self.ranks.from_main(self.saved)

    def _write_checkpoint(self, loss: float, *, at_once: bool) -> None:
        started_s = time.perf_counter()
        step, tokens = self.steps_done, self.steps_done * self.job.step_tokens
        figures = {
            "loss": loss,
            "lr": self.lr,
            "validation_loss": self.validation,
            "validation_loss_start": self.validation_start,
            "train_s": self.train_s,
            "gradient_norms": list(self.gradient_norms),
            "microbatch_sequences": self.microbatch_rows,
            "threads": torch.get_num_threads(),
            "world_size": self.ranks.world_size,
        }
        self.writer.wait()
        state = copy_state(self.model, self.optimizer, step, tokens)
        copied_s = time.perf_counter() - started_s

        def write() -> None:
            self.saved = with_room(
                lambda: self.store.save(step, tokens, lambda path: write_trainer_state(path, state), figures), say
            )
            self._prune()
            held_up_s = time.perf_counter() - started_s if at_once else copied_s
            self.attempt.event(CheckpointSaved(step=step, tokens=tokens, save_s=held_up_s))

        if at_once:
            write()
        else:
            self.writer.start(write)

    def _prune(self) -> None:
        """Remove old checkpoints; failing to do so must not end the run."""
        try:
            self.store.prune(self.job.training.checkpoints_kept)
        except OSError as error:
            say(f"older checkpoints stay: {error}")

    def _progress(self, **figures: float | None) -> None:
        self.attempt.progress(self.steps_done * self.job.step_tokens, self.job.tokens, "tokens", **figures)


def _nothing_to_predict(rows: str, phase: Phase, size: str) -> PermanentFailure:
    """`size` is the setting of how many rows there are."""
    settings = [f"`{size}`", "`data.sequence_length`"]
    if phase.masking_rate is not None:
        settings.append(f"`phases.{phase.name}.masking_rate`")
    larger = f"{', '.join(settings[:-1])} or {settings[-1]}"
    return PermanentFailure(f"{rows} hold no token to predict: a larger {larger} is needed")
