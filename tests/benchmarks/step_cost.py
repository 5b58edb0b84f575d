"""The cost of a training step in addition to its arithmetic: the suite's own part, and reading its rows.

    python -m tests.benchmarks.step_cost [--steps 40]

The suite's part (Composer, hooks, progress, guards, counting of FLOPs) is the difference between `train` and a bare
loop over the same batches, on a model so small that little else is left; it is compared with a step of the base recipe
at the goal of 430,000 tokens a second on each of four GPUs. Rows are made as workers make them, and compared with what
one GPU consumes at 450,000.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch

from detour.config.models import Model, OneMinusSqrt, Optimizer, Phase, Seeds, Training, WarmupConstant
from detour.corpus.layout import read_index
from detour.corpus.packing import PackedRows
from detour.pretraining.batches import Sharing, StepBatches
from detour.pretraining.composer_seam import WORKERS
from detour.pretraining.job import PretrainJob
from detour.pretraining.objectives import Objective, Vocabulary
from detour.pretraining.optimizer import build_optimizer
from detour.pretraining.run import LossOf
from detour.pretraining.start import Start, load_model
from detour.pretraining.train import train
from detour.speed.corpus import write_random_corpus
from detour.speed.loops import Loop
from tests.pretraining.jobs import Recorder

LENGTH, ROWS, VOCABULARY = 8192, 96, 32768
"""Those of the base recipe, on one of its four GPUs."""
STEP_S = ROWS * LENGTH / 430_000
EATEN_TOKENS_PER_S = 450_000
CLM = Phase(name="clm", objective="causal", tokens=1, schedule=WarmupConstant(kind="warmup_constant"))
MLM = Phase(name="mlm", objective="masked", tokens=1, masking_rate=0.15, schedule=OneMinusSqrt(kind="one_minus_sqrt"))
SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
}
SMALL_ROWS, SMALL_LENGTH = 4, 64


@dataclass
class Ends(Recorder):
    """An attempt that records when each step ended."""

    ends_s: list[float] = field(default_factory=list)

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:
        super().progress(done, total, unit, **figures)
        if "tokens_per_s" in figures:
            self.ends_s.append(time.process_time())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        whole_s, bare_s = _steps_s(Path(folder), options.steps)
        cost_s = whole_s - bare_s
        print(f"a step of a small model: {whole_s * 1e3:.2f} ms by train, {bare_s * 1e3:.2f} ms by a bare loop")
        print(
            f"the suite's own: {cost_s * 1e3:.2f} ms, {cost_s / STEP_S:.2%} of {STEP_S:.2f} s, the base recipe's step"
        )
        for phase in (CLM, MLM):
            speed = _rows_per_s(Path(folder) / "large", phase) * LENGTH * WORKERS
            times = speed / EATEN_TOKENS_PER_S
            print(
                f"rows of {phase.name}: {speed:,.0f} tokens/s by {WORKERS} workers, {times:.0f} times what a GPU eats"
            )


def _steps_s(folder: Path, steps: int) -> tuple[float, float]:
    corpus = write_random_corpus(folder / "small", SMALL["vocab_size"], SMALL_LENGTH, 200, mean_document_tokens=20)
    work, output = folder / "work", folder / "output"
    work.mkdir()
    output.mkdir()
    job = PretrainJob(
        start=Start(Model(config=SMALL)),
        phase=CLM,
        optimizer=Optimizer(lr=1e-4),
        steps=steps,
        warmup_steps=0,
        batch_sequences=SMALL_ROWS,
        sequence_length=SMALL_LENGTH,
        seeds=Seeds(),
        precision="fp32",
        first_row=0,
        corpus=corpus,
        work_dir=work,
        output_dir=output,
        training=Training(checkpoint_every=steps),
        microbatch_sequences=SMALL_ROWS,
    )
    recorder = Ends()
    train(job, recorder)
    return _median_step(recorder.ends_s), _bare_s(job)


def _bare_s(job: PretrainJob) -> float:
    index, objective = read_index(job.corpus), Objective.of(job.phase)
    model = load_model(job.start, index, seed=0).train()
    rows = PackedRows(job.corpus, "train", job.sequence_length, 42)
    sharing = Sharing(0, job.batch_sequences)
    batches = StepBatches(rows, objective, Vocabulary.of(index), 0, sharing, range(job.steps), job.batch_sequences)
    optimizer = build_optimizer(model, job.optimizer)
    loop = Loop(LossOf(model, objective, "auto"), optimizer, model, bf16=False, clip=1.0)
    return _median_step([time.process_time() for _ in loop.steps(iter(batches), torch.device("cpu"))])


def _median_step(ends_s: list[float]) -> float:
    """In CPU time, so that other work on the machine does not count."""
    return statistics.median(end - start for start, end in pairwise(ends_s[1:]))


def _rows_per_s(folder: Path, phase: Phase) -> float:
    corpus = folder if folder.exists() else write_random_corpus(folder, VOCABULARY, LENGTH, 256)
    rows = PackedRows(corpus, "train", LENGTH, 42)
    steps = range(9)
    batches = StepBatches(rows, Objective.of(phase), Vocabulary.of(read_index(corpus)), 17, Sharing(0, 32), steps, 8)
    made = iter(batches)
    next(made)
    started_s = time.process_time()
    for _ in made:
        pass
    return 32 * (len(steps) - 1) / (time.process_time() - started_s)


if __name__ == "__main__":
    main()
