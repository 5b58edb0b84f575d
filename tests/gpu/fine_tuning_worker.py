"""One seed's process: it makes a fine-tuning ready, says so, and measures its steps when it is asked to."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from detour.evaluation.batches import Indices, shuffled_batches
from detour.evaluation.finetune import FineTuning
from detour.evaluation.mode import Mode
from detour.ledger.attempt import Attempt
from tests.gpu.made_up_tasks import DEVICE, HELD, ShapeName, encoder_config, made_workload
from tests.gpu.step_graph import graphed_steps

MODES = {
    "padded": Mode(),
    "joined": Mode(joined=True),
    "joined, compiled": Mode(joined=True, compiled=True),
    "joined, fused": Mode(joined=True, fused=True),
    "joined, static": Mode(joined=True, compiled=True, static=True),
    "joined, graph": Mode(joined=True),
}
"""The last two are measured on the batches of one size alone, as if all were filled up to it: compiled for that size,
and without a compiler, as one CUDA graph of forward and backward pass."""
MEASURED_S, TINY_S = 2.5, 0.2
WARM_UP_STEPS = 4


@dataclass(frozen=True)
class Order:
    mode: str
    shape: ShapeName
    tiny: bool


@dataclass(frozen=True)
class Rate:
    step_s: float
    samples_s: float
    tokens_s: float
    """Real ones, without what fills up."""
    prediction_s: float
    """A document; measured alone, before training."""
    first_s: float
    """Of the first steps, with what compiles and allocates."""
    memory_gib: float
    """Of this process at most, by torch's count."""
    device_gib: float
    """In use on the whole device."""
    difference: float
    """Of the first logits from those of the padded mode, at most; NaN where these are unknown."""
    logits: float
    """The largest of them."""
    loss: float
    """Mean of the first steps."""


@dataclass
class Worker:
    """The other end of a seed's process."""

    process: BaseProcess
    connection: Connection

    def send(self, message: Order | str) -> None:
        if self.process.is_alive():
            self.connection.send(message)

    def answer(self, limit_s: float) -> Rate | str | None:
        """None for ready; what went wrong as a string."""
        try:
            if not self.connection.poll(max(limit_s, 0.1)):
                self.process.kill()
                return f"no answer in {limit_s:.0f} s"
            return cast("Rate | str | None", self.connection.recv())
        except (EOFError, OSError):
            self.process.join(5)
            return f"the process ended with {self.process.exitcode}"

    def end(self) -> None:
        self.connection.close()  # it leaves by itself, unless it hangs
        self.process.join(5)
        self.process.kill()


def start(context: SpawnContext, seed: int) -> Worker:
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, seed))
    process.start()
    there.close()
    return Worker(process, here)


@dataclass
class _Listener:
    """What fine-tuning needs of an attempt."""

    stop_reason: str | None = None
    losses: list[float] = field(default_factory=list)

    def progress(self, *_: object, loss: float, **__: Any) -> None:
        self.losses.append(loss)


def _serve(connection: Connection, seed: int) -> None:
    torch.set_num_threads(1)
    reference: dict[ShapeName, np.ndarray[Any, Any]] = {}
    ready: _Ready | None = None
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                message = connection.recv()
            except EOFError:
                return
            try:
                if isinstance(message, Order):
                    ready = None  # frees the last one's memory
                    _forget()
                    ready = _Ready(message, seed, Path(folder), reference)
                    connection.send(None)
                else:
                    assert ready is not None
                    connection.send(ready.measure())
            except Exception as error:  # noqa: BLE001  a variant that fails must not end the others
                traceback.print_exc()
                connection.send(f"{type(error).__name__}: {error}".partition("\n")[0])


class _Ready:
    """A fine-tuning past its first steps."""

    def __init__(self, order: Order, seed: int, folder: Path, reference: dict[ShapeName, np.ndarray[Any, Any]]) -> None:
        self.measured_s = TINY_S if order.tiny else MEASURED_S
        config = encoder_config(tiny=order.tiny)
        task, workload = made_workload(order.shape, config, tiny=order.tiny)
        self.listener = _Listener()
        self.tuning = FineTuning(folder, task, workload, seed, folder, cast(Attempt, self.listener), MODES[order.mode])
        self.lengths = np.asarray(workload.train_lengths)
        self._predict(order, reference)
        batches = shuffled_batches(workload.train_lengths, task.batch_sequences, (seed,))
        if order.mode in ("joined, static", "joined, graph"):
            batches = _of_one_size(batches, self.lengths)
            self.tuning.model.grid = -(-int(self.lengths[batches[0]].sum()) // 512) * 512
        self.batches = batches
        self.step: Callable[[Indices], Tensor | None] = self.tuning.update
        if order.mode == "joined, graph":
            self.step = graphed_steps(self.tuning, batches[0])
        started_s = time.perf_counter()
        for batch in batches[:WARM_UP_STEPS]:
            if (loss := self.step(batch)) is not None:
                self.listener.losses.append(float(loss))
        _synchronize()
        self.first_s = time.perf_counter() - started_s

    def _predict(self, order: Order, reference: dict[ShapeName, np.ndarray[Any, Any]]) -> None:
        """Twice, since the first time tunes."""
        task = self.tuning.task
        self.tuning.decide("validation")
        _synchronize()
        started_s = time.perf_counter()
        decided = self.tuning.decide("validation")
        _synchronize()
        self.prediction_s = (time.perf_counter() - started_s) / HELD
        self.difference, self.logits = float("nan"), float("nan")
        if task.type != "ner":
            if order.mode == "padded":
                reference[order.shape] = decided.logits
            self.logits = float(np.abs(decided.logits).max())
            if order.shape in reference:
                self.difference = float(np.abs(decided.logits - reference[order.shape]).max())

    def measure(self) -> Rate:
        steps = tokens = samples = 0
        _synchronize()
        started_s = time.perf_counter()
        while (elapsed_s := time.perf_counter() - started_s) < self.measured_s:
            batch = self.batches[(WARM_UP_STEPS + steps) % len(self.batches)]
            self.step(batch)
            steps, samples, tokens = steps + 1, samples + len(batch), tokens + int(self.lengths[batch].sum())
        _synchronize()
        elapsed_s = time.perf_counter() - started_s
        losses = self.listener.losses[:WARM_UP_STEPS]
        return Rate(
            step_s=elapsed_s / steps,
            samples_s=samples / elapsed_s,
            tokens_s=tokens / elapsed_s,
            prediction_s=self.prediction_s,
            first_s=self.first_s,
            memory_gib=_gib(torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else 0),
            device_gib=_gib(_device_bytes()),
            difference=self.difference,
            logits=self.logits,
            loss=sum(losses) / len(losses) if losses else float("nan"),
        )


def _of_one_size(batches: list[Indices], lengths: np.ndarray[Any, Any]) -> list[Indices]:
    """Those whose joined tokens are as many, rounded up, as the median batch's; the longest, which sets the size for
    the others, first."""
    tokens = np.array([lengths[batch].sum() for batch in batches])
    near = np.flatnonzero(np.abs(tokens - np.median(tokens)) <= 0.1 * np.median(tokens))
    return [batches[index] for index in near[np.argsort(-tokens[near])]]


def _synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _forget() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _device_bytes() -> int:
    if DEVICE.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free


def _gib(count: int) -> float:
    return count / 2**30
