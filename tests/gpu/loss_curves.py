"""Compare the loss curves of the fast path and the reference: same model and rows, different ways to compute a step.

    python -m tests.gpu.loss_curves [--tiny]

The text is a random chain of words with few successors each, mostly determined by the word before the last, so that the
loss falls within the 300 steps, and falls further with attention. The reference is transformers' layers, uncompiled,
with torch's kernel; the change that only another kernel makes to its curve is the noise of bf16. For each curve the
mean over the last 50 steps is printed, and the largest distance of 10-step means from the reference. One row does not
occupy a GPU, so all of them run concurrently.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import ModernBertConfig, ModernBertForMaskedLM

from detour.config.models import Optimizer
from detour.corpus.packing import PackedRow
from detour.flops import MEAN_DOCUMENT_TOKENS
from detour.pretraining.attention import compile_layers, set_backend
from detour.pretraining.batches import Batch, collate, to_device
from detour.pretraining.kernel_choice import Heads, problem
from detour.pretraining.kernels import LOCAL
from detour.pretraining.objectives import Objective, Vocabulary, make_example
from detour.pretraining.optimizer import build_optimizer, set_lr
from detour.pretraining.residual import set_bf16_stream
from detour.pretraining.run import LossOf

WORDS, SUCCESSORS, SPECIAL = 4096, 8, 5
BY_CHANCE = 0.1
WARMUP_STEPS, LAST, WINDOW = 30, 50, 10
Curve = NDArray[np.float32]
OPTIMIZER = Optimizer(lr=3e-4)


@dataclass(frozen=True)
class Way:
    """A way to compute a step."""

    name: str
    kernel: str = "varlen"
    compiled: bool = False
    bf16_stream: bool = False


@dataclass(frozen=True)
class Size:
    steps: int
    row_tokens: int
    config: ModernBertConfig


BASE = Size(300, 8192, ModernBertConfig(vocab_size=WORDS + SPECIAL, pad_token_id=0))
TINY = Size(
    12,
    256,
    ModernBertConfig(
        vocab_size=WORDS + SPECIAL,
        pad_token_id=0,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=2,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small, for a CPU")
    size = TINY if parser.parse_args().tiny else BASE
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        curves = {way.name: processes.submit(_curve, way, size, device) for way in _ways(device, size.config)}
        reference = curves["reference"].result()
        for name, future in curves.items():
            curve = future.result()
            distance = np.abs(_smooth(curve) - _smooth(reference)).max()
            mean = curve[-LAST:].mean()
            print(f"{name:42} {curve[0]:.4f} -> {mean:.4f}  largest distance {distance:.4f}", flush=True)


def _ways(device: torch.device, config: ModernBertConfig) -> Iterator[Way]:
    yield Way("reference")
    if device.type == "cpu":
        yield Way("compiled layers", compiled=True)
        return
    flash = "flash_attention_4"
    missing = problem(flash, device, torch.bfloat16, Heads.of(config, causal=True))
    if missing is not None:
        print(f"{flash}: {missing}", flush=True)
    fast = (flash if missing is None else "varlen") + LOCAL
    yield Way("reference, other kernels: the noise", kernel=fast)
    yield Way("compiled layers", kernel=fast, compiled=True)
    yield Way("compiled layers, bf16 stream", kernel=fast, compiled=True, bf16_stream=True)


def _curve(way: Way, size: Size, device: torch.device) -> Curve:
    torch.manual_seed(0)
    model = ModernBertForMaskedLM(size.config)
    set_backend(model, way.kernel)
    if way.bf16_stream:
        set_bf16_stream(model)
    model.to(device).train()
    if way.compiled:
        compile_layers(model)
    loss_of = LossOf(model, Objective("causal"), "auto")
    optimizer = build_optimizer(model, OPTIMIZER)
    losses = []
    for step, batch in enumerate(_batches(size)):
        set_lr(optimizer, OPTIMIZER.lr * min(1.0, (step + 1) / WARMUP_STEPS))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = loss_of(to_device(batch, device))
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    curve: Curve = torch.stack(losses).cpu().numpy()
    return curve


def _batches(size: Size) -> Iterator[Batch]:
    """The same for every way."""
    generator = np.random.default_rng(0)
    successors = generator.integers(0, WORDS, (WORDS, SUCCESSORS))
    vocabulary = Vocabulary(WORDS + SPECIAL, 4, tuple(range(SPECIAL)))
    for step in range(size.steps):
        words = generator.integers(0, WORDS, size.row_tokens)
        chance = generator.random(size.row_tokens) < BY_CHANCE
        for i in range(2, size.row_tokens):
            words[i] = successors[words[i - 1], words[i if chance[i] else i - 2] % SUCCESSORS]
        lengths = np.maximum(2, generator.exponential(MEAN_DOCUMENT_TOKENS, size.row_tokens // 2)).astype(np.int64)
        ends = lengths.cumsum()
        ends = np.append(ends[ends < size.row_tokens - 1], size.row_tokens)
        row = PackedRow(words + SPECIAL, np.append(0, ends).astype(np.int32), "made up")
        yield collate([make_example(row, Objective("causal"), vocabulary, (0, step))])


def _smooth(curve: Curve) -> Curve:
    return np.convolve(curve, np.full(WINDOW, 1 / WINDOW, np.float32), mode="valid")


if __name__ == "__main__":
    main()
