"""The process of one seed: it prepares a fine-tuning, reports that it is ready, and measures steps on request."""

from __future__ import annotations

import statistics
import tempfile
import time
import traceback
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from detour.evaluation.batches import Indices, shuffled_batches
from detour.evaluation.finetune import FineTuning
from detour.evaluation.sequences import KERNEL, Mode, filled_up
from detour.ledger.attempt import Attempt
from detour.pretraining.kernels import LOCAL
from tests.gpu.synthetic_tasks import DEVICE, HELD, ShapeName, encoder_config, made_workload

MODES = {
    "padded": Mode(),
    "joined": Mode(joined=True),
    "compiled": Mode(joined=True, compiled=True),
    "fused": Mode(joined=True, fused=True),
    "fused, local": Mode(joined=True, fused=True, kernel=KERNEL + LOCAL),
    "graphed": Mode(joined=True, fused=True, graphed=True),
    "graphed, local": Mode(joined=True, fused=True, graphed=True, kernel=KERNEL + LOCAL),
    "graphed, fa4": Mode(joined=True, fused=True, graphed=True, kernel="flash_attention_4" + LOCAL),
}
"""Without CUDA there are no graphs and no kernels for narrow windows; the rest of a mode is rehearsed."""
MEASURED_S, TINY_S = 2.5, 0.2
FIRST_STEPS, TINY_WARM_UP_STEPS = 12, 4
WHOLE_STEPS, VALIDATE_EVERY = 24, 12


@dataclass(frozen=True)
class Order:
    mode: str
    shape: ShapeName
    tiny: bool
    whole: bool = False
    """Run a short fine-tuning to its test scores instead of measuring speed."""


@dataclass(frozen=True)
class Rate:
    """The speed of one process in steady state; warm-up is reported separately."""

    step_s: float
    """Mean."""
    median_s: float
    slowest_s: float
    samples_s: float
    tokens_s: float
    """Without padding."""
    prediction_s: float
    """Per document."""
    build_s: float
    """Time to build model and optimizer and to move them to the device."""
    first_s: float
    """Extra time of the first steps over steady ones: compiling, allocating, choosing kernels."""
    memory_gib: float
    """Peak of this process, as counted by torch."""
    device_gib: float
    """In use on the whole device."""
    busy_percent: float | None
    """NVML's recent utilization: the share of time in which any kernel ran."""
    loss: float
    """Mean over the first steps."""


@dataclass(frozen=True)
class Whole:
    """The results of a short fine-tuning."""

    losses: list[float]
    keys: list[str]
    validations: int
    test: float


@dataclass
class Worker:
    """A seed's process, seen from the bench."""

    process: BaseProcess
    connection: Connection

    def send(self, message: Order | str) -> None:
        if self.process.is_alive():
            self.connection.send(message)

    def answer(self, limit_s: float) -> Any:
        """The process's answer; a string describes an error."""
        try:
            if not self.connection.poll(max(limit_s, 0.1)):
                self.process.kill()
                return f"no answer in {limit_s:.0f} s"
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            return f"the process ended with {self.process.exitcode}"

    def end(self) -> None:
        self.connection.close()  # the process then exits by itself, unless it hangs
        self.process.join(5)
        self.process.kill()


def start(context: SpawnContext, seed: int) -> Worker:
    """Start a seed's process; its first answer is the time in seconds until torch and the device were ready."""
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, seed, time.time()))
    process.start()
    there.close()
    return Worker(process, here)


@dataclass
class _Listener:
    """The part of an attempt that fine-tuning uses."""

    stop_reason: str | None = None
    losses: list[float] = field(default_factory=list)

    def progress(self, *_: object, loss: float | None = None, **__: Any) -> None:
        if loss is not None:
            self.losses.append(loss)


def _serve(connection: Connection, seed: int, started_at_s: float) -> None:
    torch.set_num_threads(1)
    torch.zeros(1, device=DEVICE)
    connection.send(time.time() - started_at_s)
    ready: _Ready | None = None
    with tempfile.TemporaryDirectory() as folder:
        while True:
            try:
                message = connection.recv()
            except EOFError:
                return
            try:
                if isinstance(message, Order):
                    ready = None  # free the memory of the previous one
                    _forget()
                    ready = _Ready(message, seed, Path(folder))
                    connection.send(None)
                else:
                    assert ready is not None
                    connection.send(ready.answer())
            except Exception as error:  # noqa: BLE001  a variant that fails must not end the others
                traceback.print_exc(limit=-4)
                connection.send(f"{type(error).__name__}: {error}".partition("\n")[0])


class _Ready:
    """A prepared fine-tuning: after its warm-up steps, or at its start if it is to run whole."""

    def __init__(self, order: Order, seed: int, folder: Path) -> None:
        self.order, self.listener = order, _Listener()
        self.measured_s = TINY_S if order.tiny else MEASURED_S
        config = encoder_config(tiny=order.tiny)
        task, workload = made_workload(order.shape, config, tiny=order.tiny)
        if order.whole:
            short = {"epochs": None, "steps": WHOLE_STEPS, "validate_every": VALIDATE_EVERY}
            task = task.model_copy(update=short)
        started_s = time.perf_counter()
        self.tuning = FineTuning(folder, task, workload, seed, folder, cast(Attempt, self.listener), _mode(order.mode))
        _synchronize()
        self.build_s = time.perf_counter() - started_s
        self.lengths = np.asarray(workload.train_lengths)
        if not order.whole:
            self._warm_up(seed)

    def _warm_up(self, seed: int) -> None:
        self.batches = shuffled_batches(self.lengths.tolist(), self.tuning.task.batch_sequences, (seed,))
        first = TINY_WARM_UP_STEPS if self.order.tiny else FIRST_STEPS
        warm_up = [*self.batches[:first], *(2 * self._of_each_size())]
        self.warm_up_steps = len(warm_up)
        started_s = time.perf_counter()
        for batch in warm_up:
            self.tuning.update(batch)
        _synchronize()
        self.warm_up_s = time.perf_counter() - started_s

    def _of_each_size(self) -> list[Indices]:
        """One batch for each size that graphs are recorded for."""
        if self.tuning.model.graphs is None:
            return []
        longest = self.tuning.task.max_length
        return list({filled_up(int(self.lengths[batch].sum()), longest): batch for batch in self.batches}.values())

    def answer(self) -> Rate | Whole:
        return self._whole() if self.order.whole else self._rate()

    def _whole(self) -> Whole:
        outcome = self.tuning.run()
        scores = (*outcome.history[0], *outcome.history[0]["validation"], *outcome.test)
        test = outcome.test[self.tuning.workload.primary_metric]
        return Whole(self.listener.losses, sorted(scores), len(outcome.history), test)

    def _rate(self) -> Rate:
        taken_s: list[float] = []
        tokens = samples = 0
        _synchronize()
        started_s = last_s = time.perf_counter()
        while last_s - started_s < self.measured_s:
            batch = self.batches[(self.warm_up_steps + len(taken_s)) % len(self.batches)]
            self.tuning.update(batch)
            samples, tokens = samples + len(batch), tokens + int(self.lengths[batch].sum())
            now_s = time.perf_counter()
            taken_s.append(now_s - last_s)
            last_s = now_s
        _synchronize()
        elapsed_s, busy_percent = time.perf_counter() - started_s, _busy_percent()
        first = self.listener.losses[:FIRST_STEPS]
        return Rate(
            step_s=elapsed_s / len(taken_s),
            median_s=statistics.median(taken_s),
            slowest_s=max(taken_s),
            samples_s=samples / elapsed_s,
            tokens_s=tokens / elapsed_s,
            prediction_s=self._prediction_s(),
            build_s=self.build_s,
            first_s=max(0.0, self.warm_up_s - self.warm_up_steps * elapsed_s / len(taken_s)),
            memory_gib=_gib(torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else 0),
            device_gib=_gib(_device_bytes()),
            busy_percent=busy_percent,
            loss=sum(first) / len(first),
        )

    def _prediction_s(self) -> float:
        """Time of the second prediction, as the first one tunes."""
        for _ in range(2):
            _synchronize()
            started_s = time.perf_counter()
            self.tuning.decide("validation")
            _synchronize()
        return (time.perf_counter() - started_s) / HELD


def _mode(name: str) -> Mode:
    mode = MODES[name]
    return mode if DEVICE.type == "cuda" else replace(mode, graphed=False, kernel=KERNEL)


def _synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def _forget() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _busy_percent() -> float | None:
    try:
        return float(torch.cuda.utilization()) if DEVICE.type == "cuda" else None
    except (ImportError, RuntimeError):
        return None


def _device_bytes() -> int:
    if DEVICE.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free


def _gib(count: int) -> float:
    return count / 2**30
