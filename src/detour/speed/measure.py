"""Measure one phase of a recipe on this device: our training, a bare loop by part, and transformers' plain loops.

The model has the recipe's shape with random weights, and the text is random with realistic document lengths; neither
affects speed. Every loop starts clean: memory of earlier ones is freed and peaks are reset, and an error or a lack of
memory only costs that loop's figures.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import ModernBertForMaskedLM

from detour.config.models import Model
from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRows
from detour.errors import PermanentFailure
from detour.flops import Shape
from detour.planning.stage import PretrainStage
from detour.pretraining.attention import compile_layers, set_backend
from detour.pretraining.batches import Batch, Sharing, StepBatches, training_flops
from detour.pretraining.device import peak_flops, use_bf16
from detour.pretraining.job import PretrainJob
from detour.pretraining.kernel_choice import ready_backend
from detour.pretraining.objectives import Objective, Vocabulary
from detour.pretraining.optimizer import build_optimizer, freeze
from detour.pretraining.residual import set_bf16_stream
from detour.pretraining.run import LossOf
from detour.pretraining.start import Start, load_model, set_attention_output_dropout
from detour.pretraining.train import train
from detour.pricing.estimates import model_shape
from detour.speed.corpus import write_random_corpus
from detour.speed.loops import Clock, Loop, synchronize
from detour.speed.peers import plain_loss, trainer_tokens_per_s
from detour.speed.recording import SpeedRecorder, gpu_joules, joules_since
from detour.speed.result import BenchSettings, Device, LoopName, Speed

HEAD_SIZE = 64
"""The head size of every published ModernBERT."""
PEER_MICROBATCHES = 4
"""Upper bound on a peer's microbatches per step: a full step would take it minutes, at the same speed."""
STEPS_READY = 2
"""Steps before timing starts: the first compiles and allocates, the second still tunes."""


def this_device() -> Device:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return Device(name, torch.__version__, transformers.__version__)


def measure(stage: PretrainStage, asked: BenchSettings) -> Iterator[Speed]:
    """Yield the figures of each loop as they come. Raises PermanentFailure if the model's size is unknown."""
    shape = model_shape(stage)
    if shape is None:
        name = stage.runtime.model.pretrained
        raise PermanentFailure(f"the size of {name} is unknown: give `model.config` instead of `model.pretrained`")
    with tempfile.TemporaryDirectory(prefix="detour-bench-") as folder:
        bench = _Bench(stage, shape, asked, Path(folder))
        loops: list[tuple[LoopName, Callable[[], Speed]]] = [
            ("detour", bench.training),
            ("bare loop", bench.bare),
        ]
        if asked.peers:
            loops += [
                ("transformers", lambda: bench.that_fits(bench.trainer)),
                ("transformers, sdpa", lambda: bench.that_fits(bench.plain)),
            ]
        for name, run in loops:
            yield _guarded(stage.phase, name, run)


def _guarded(phase: str, loop: LoopName, run: Callable[[], Speed]) -> Speed:
    _free_memory()
    try:
        return run()
    except torch.OutOfMemoryError:
        return Speed(phase, loop, problem="out of memory")
    except (RuntimeError, ValueError, ImportError, PermanentFailure) as error:
        return Speed(phase, loop, problem=str(error).partition("\n")[0])


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


class _Bench:
    def __init__(self, stage: PretrainStage, shape: Shape, asked: BenchSettings, folder: Path) -> None:
        self.stage, self.shape, self.asked, self.folder = stage, shape, asked, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        settings, runtime = stage.settings, stage.runtime
        self.bf16 = use_bf16(settings.precision, self.device)
        self.objective = Objective.of(settings.phase)
        rows = asked.rows or settings.batch_sequences
        microbatch = asked.microbatch_rows or runtime.microbatch_sequences
        self.rows = rows
        self.microbatch = microbatch if microbatch == "auto" else min(microbatch, rows)
        """Replaced with the one that the training takes."""
        self.steps = STEPS_READY + asked.steps
        self.corpus = write_random_corpus(
            folder / "corpus", shape.vocab_size, settings.sequence_length, min(512, rows * self.steps)
        )
        self.config = _model_config(stage, shape)
        self.backend = ready_backend(self.device, half=self.bf16)
        """The backend of the bare loop, replaced with the one that the training chooses."""

    def job(self) -> PretrainJob:
        settings, runtime = self.stage.settings, self.stage.runtime
        work, output = self.folder / "work", self.folder / "output"
        work.mkdir()
        output.mkdir()
        return PretrainJob(
            start=Start(Model(config=self.config)),
            phase=settings.phase,
            optimizer=settings.optimizer,
            steps=self.steps,
            warmup_steps=0,
            batch_sequences=self.rows,
            sequence_length=settings.sequence_length,
            seeds=settings.seeds,
            precision=settings.precision,
            first_row=0,
            corpus=self.corpus,
            work_dir=work,
            output_dir=output,
            training=runtime.training.model_copy(update={"checkpoint_every": self.steps, "loggers": ()}),
            microbatch_sequences=self.microbatch,
            name=self.stage.phase,
        )

    def training(self) -> Speed:
        """The complete training with Composer, journal and guards; the final save is reported separately."""
        kept = SpeedRecorder(STEPS_READY)
        self.microbatch = train(self.job(), kept)["microbatch_sequences"]
        self.backend = kept.attention.backend
        speed = statistics.median(kept.tokens_per_s[STEPS_READY:])
        saves = {"save": kept.save_s * 1e3} if kept.save_s is not None else {}
        shares = kept.mfu[STEPS_READY:]
        return Speed(
            phase=self.stage.phase,
            loop="detour",
            tokens_per_s=speed,
            mfu=statistics.median(shares) if shares else None,
            memory_gib=self._memory_gib(),
            joules_per_token=kept.joules_per_token(),
            step_ms=saves,
            attention=kept.attention.backend,
            attention_ms=kept.attention.layer_ms,
        )

    def bare(self) -> Speed:
        model = self._model()
        if self.stage.runtime.training.compile:
            compile_layers(model)
        loss_of = LossOf(model, self.objective, self.stage.runtime.training.cross_entropy)
        return self._measured("bare loop", model, loss_of, self._microbatch(), self.rows)

    def plain(self, microbatch: int) -> Speed:
        model = self._model("sdpa")
        return self._measured("transformers, sdpa", model, plain_loss(model), microbatch, self._peer_rows(microbatch))

    def that_fits(self, run: Callable[[int], Speed]) -> Speed:
        """Halve the microbatch until the peer, which holds the logits of all tokens, fits the memory."""
        microbatch = self._microbatch()
        while microbatch > 1:
            with suppress(torch.OutOfMemoryError):
                return run(microbatch)
            _free_memory()
            microbatch //= 2
        return run(1)

    def _peer_rows(self, microbatch: int) -> int:
        """Full microbatches only: the Trainer leaves out a smaller one at the end of a step."""
        return min(self.rows // microbatch, PEER_MICROBATCHES) * microbatch

    def trainer(self, microbatch: int) -> Speed:
        rows = PackedRows(self.corpus, "train", self.stage.settings.sequence_length, self.stage.settings.seeds.shuffle)
        tokens_per_s = trainer_tokens_per_s(
            self._model("sdpa"),
            rows,
            self.objective,
            Vocabulary.of(read_index(self.corpus)),
            steps=self.steps,
            ready=STEPS_READY,
            rows_per_step=self._peer_rows(microbatch),
            microbatch_rows=microbatch,
            bf16=self.bf16,
            folder=self.folder / "trainer",
        )
        return Speed(self.stage.phase, "transformers", tokens_per_s, memory_gib=self._memory_gib())

    def _model(self, backend: str | None = None) -> ModernBertForMaskedLM:
        model = load_model(Start(Model(config=self.config)), read_index(self.corpus), seed=0)
        set_backend(model, backend or self.backend)
        if backend is None and self.stage.settings.precision == "bf16_residual":
            set_bf16_stream(model)
        freeze(model, self.stage.settings.phase.freeze)
        set_attention_output_dropout(model, self.stage.settings.phase.attention_output_dropout)
        return model.to(self.device).train()

    def _measured(
        self, name: LoopName, model: ModernBertForMaskedLM, loss_of: Callable[[Batch], Any], microbatch: int, rows: int
    ) -> Speed:
        """Measure the speed without synchronization, then a few more steps by part."""
        optimizer = build_optimizer(model, self.stage.settings.optimizer)
        loop = Loop(loss_of, optimizer, model, self.bf16, self.stage.settings.optimizer.gradient_clip)
        steps = self._steps(microbatch, rows)
        for _ in loop.steps(iter(steps[:STEPS_READY]), self.device):
            synchronize(self.device)
        timed = steps[STEPS_READY:]
        joules, started_s = gpu_joules(), time.perf_counter()
        for _ in loop.steps(iter(timed), self.device):
            pass
        synchronize(self.device)
        elapsed_s, used_j = time.perf_counter() - started_s, joules_since(joules)
        clock = Clock(self.device)
        by_part = timed[: max(1, len(timed) // 2)]
        for _ in loop.steps(iter(by_part), self.device, clock):
            pass
        tokens = len(timed) * rows * self.stage.settings.sequence_length
        peak = peak_flops(self.device) if self.bf16 else None
        flops = training_flops(self.shape, chain.from_iterable(timed), causal=self.objective.causal)
        return Speed(
            phase=self.stage.phase,
            loop=name,
            tokens_per_s=tokens / elapsed_s,
            mfu=None if peak is None else flops / elapsed_s / peak,
            memory_gib=self._memory_gib(),
            joules_per_token=None if used_j is None else used_j / tokens,
            step_ms={part: 1e3 * seconds / len(by_part) for part, seconds in clock.seconds.items()},
        )

    def _microbatch(self) -> int:
        return self.microbatch if self.microbatch != "auto" else 1

    def _steps(self, microbatch: int, rows_per_step: int) -> list[Sequence[Batch]]:
        """Batches made before timing starts; the cost of data shows in the full training and in its own benchmark."""
        settings, index = self.stage.settings, read_index(self.corpus)
        rows = PackedRows(self.corpus, "train", settings.sequence_length, settings.seeds.shuffle)
        sharing, vocabulary = Sharing(0, rows_per_step), Vocabulary.of(index)
        return list(StepBatches(rows, self.objective, vocabulary, 0, sharing, range(self.steps), microbatch))

    def _memory_gib(self) -> float | None:
        return torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else None


def _model_config(stage: PretrainStage, shape: Shape) -> dict[str, Any]:
    """The recipe's model config, or that of the published size."""
    own = stage.runtime.model.config
    if own is not None:
        return {**own, "vocab_size": shape.vocab_size}
    return {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.hidden_size // HEAD_SIZE,
        "vocab_size": shape.vocab_size,
        "local_attention": shape.local_attention,
    }
