"""Tokens a second and MFU of the base model at 8,192 tokens, in both phases, on the GPU of this machine.

    python -m tests.benchmarks.pretraining_gpu [--steps 20] [--rows 24] [--microbatch 8] [--compile]

Random weights and random documents go through the whole of `detour.pretraining.train`, Composer included, on one
device. Prints "not measured" where there is no CUDA device.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch

from detour.config.models import Model, OneMinusSqrt, Optimizer, Phase, Seeds, Training, WarmupConstant
from detour.corpus.layout import (
    DOCUMENTS,
    SPLITS,
    TOKENS,
    Index,
    SourceIndex,
    SpecialTokens,
    source_folder,
    write_index,
)
from detour.pretraining.job import PretrainJob
from detour.pretraining.start import Start
from detour.pretraining.train import train
from tests.pretraining.jobs import Recorder

LENGTH, VOCABULARY = 8192, 50368
WARMUP_STEPS = 5
"""Steps left out of the figures: allocation, autotuning, compilation."""
PHASES = (
    Phase(name="clm", objective="causal", tokens=1, schedule=WarmupConstant(kind="warmup_constant")),
    Phase(name="mlm", objective="masked", tokens=1, masking_rate=0.15, schedule=OneMinusSqrt(kind="one_minus_sqrt")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--microbatch", type=int, default=8)
    parser.add_argument("--document-tokens", type=int, default=1200, help="mean length of a document")
    parser.add_argument("--attention", default="auto")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("not measured: no CUDA device on this machine")
        return
    name = torch.cuda.get_device_name()
    print(f"{name}, torch {torch.__version__}, base model, {LENGTH:,} tokens a row, {options.rows} rows a step")
    with tempfile.TemporaryDirectory() as folder:
        corpus = _write_corpus(Path(folder) / "corpus", options.document_tokens)
        for phase in PHASES:
            recorder = Recorder()
            train(_job(Path(folder), corpus, phase, options), recorder)
            _report(phase, recorder)


def _report(phase: Phase, recorder: Recorder) -> None:
    speed = statistics.median(recorder.steps("tokens_per_s")[WARMUP_STEPS:])
    shares = recorder.steps("mfu")[WARMUP_STEPS:]
    share = f"MFU {statistics.median(shares):.1%}" if shares else "MFU unknown: the device's peak is not listed"
    print(
        f"{phase.name}: {speed:,.0f} tokens/s, {share}, peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    )


def _job(folder: Path, corpus: Path, phase: Phase, options: argparse.Namespace) -> PretrainJob:
    work, output = folder / phase.name / "work", folder / phase.name / "output"
    work.mkdir(parents=True)
    output.mkdir()
    return PretrainJob(
        start=Start(Model(config={"vocab_size": VOCABULARY})),
        phase=phase,
        optimizer=Optimizer(lr=2e-4),
        steps=options.steps,
        warmup_steps=0,
        batch_sequences=options.rows,
        sequence_length=LENGTH,
        seeds=Seeds(),
        precision="auto",
        first_row=0,
        corpus=corpus,
        work_dir=work,
        output_dir=output,
        training=Training(attention=options.attention, compile=options.compile, checkpoint_every=options.steps),
        microbatch_sequences=options.microbatch,
        name=phase.name,
    )


def _write_corpus(folder: Path, mean_tokens: int) -> Path:
    """Log-normal document lengths, as text has them; tokens at random."""
    generator, tokens = np.random.default_rng(0), {"train": 4_000_000, "validation": 2 * LENGTH}
    entries = {}
    for split in SPLITS:
        place = source_folder(folder, split, "random")
        place.mkdir(parents=True)
        lengths = np.maximum(8, generator.lognormal(np.log(mean_tokens) - 0.5, 1.0, tokens[split] // 400).astype(int))
        ends = np.cumsum(lengths)
        ends = ends[: max(1, int(np.searchsorted(ends, tokens[split])) + 1)]
        generator.integers(5, VOCABULARY, int(ends[-1])).astype(np.uint16).tofile(place / TOKENS)
        np.save(place / DOCUMENTS, np.concatenate([[0], ends]))
        entries[split] = (int(ends[-1]), len(ends))
    source = SourceIndex(
        weight=1.0,
        train_tokens=entries["train"][0],
        train_documents=entries["train"][1],
        validation_tokens=entries["validation"][0],
        validation_documents=entries["validation"][1],
        blank_documents=0,
        excluded_documents=0,
        sha256={},
    )
    index = Index(
        dtype="uint16",
        vocabulary=VOCABULARY,
        special_tokens=SpecialTokens(pad=0, cls=1, sep=2, mask=3),
        sequence_length=LENGTH,
        shuffle_seed=42,
        sources={"random": source},
    )
    write_index(folder, index)
    return folder


if __name__ == "__main__":
    main()
