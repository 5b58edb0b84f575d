"""How fast this device fine-tunes: one seed in several modes, several seeds at once, and what 72 fine-tunes would take.

    python -m tests.gpu.fine_tuning [--tiny] [--limit-s SECONDS]

A base-size encoder of random weights learns made-up tasks (`made_up_tasks`). Each line is printed as soon as it is
known; a variant that fails prints its error, and what there was no time for is said. Seeds that run at once are
processes, each with a model of its own. A variant's first logits and losses stand beside its speed: those of all modes
must agree up to bf16's rounding.

The 72 fine-tunes are the eight tasks of configs/benchmarks/french-biomedical.yaml, with its nine seeds. Steps, batches
and documents are read there (of a split that comes with the data, all documents count as trained on; the size of
QUAERO is not published there, so its predictions are left out). Documents are taken to be as long as those of the shape
`cases`, EMEA's windows as `windows`, MEDLINE's as `titles`: these are assumptions, not measurements.

    hours = seeds x sum over tasks (steps x seconds a step + documents predicted x seconds a prediction) / 3600
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from detour.config.loading import load_benchmark
from detour.config.models import Task
from tests.gpu.fine_tuning_worker import Order, Rate, Worker, start
from tests.gpu.made_up_tasks import ShapeName

BENCHMARK = Path(__file__).resolve().parents[2] / "configs" / "benchmarks" / "french-biomedical.yaml"
SEEDS_AT_ONCE = (2, 3, 5)
ANSWER_S = 75.0
"""In which a worker must have answered: compiling is slow."""


@dataclass
class Bench:
    """What is known so far, and until when more may be measured."""

    workers: list[Worker]
    tiny: bool
    ends_at: float
    failed: int = 0

    def __post_init__(self) -> None:
        self.step_s: dict[tuple[ShapeName, str], float] = {}
        """Shape and variant -> seconds a step, of all seeds at once taken together."""
        self.prediction_s: dict[ShapeName, float] = {}

    def one(self, mode: str, shape: ShapeName) -> None:
        """One seed alone."""
        self._measure(mode, shape, 1)

    def several(self, mode: str, shape: ShapeName, counts: Sequence[int]) -> None:
        for count in counts:
            self._measure(mode, shape, count)

    def _measure(self, mode: str, shape: ShapeName, count: int) -> None:
        label = f"{shape:8} {mode:18} {count} at once"
        if (left_s := self.ends_at - time.monotonic()) < 5:
            print(f"{label}: skipped, no time left", flush=True)
            return
        started_s = time.monotonic()
        order = Order(mode, shape, self.tiny)
        rates = _answers(self.workers[:count], order, min(ANSWER_S, left_s))
        for problem in (rate for rate in rates if isinstance(rate, str)):
            self.failed += 1
            print(f"{label}: FAILED: {problem}", flush=True)
        good = [rate for rate in rates if isinstance(rate, Rate)]
        if len(good) == count:
            self._keep(label, mode, shape, good, time.monotonic() - started_s)

    def _keep(self, label: str, mode: str, shape: ShapeName, rates: Sequence[Rate], elapsed_s: float) -> None:
        step_s = 1 / sum(1 / rate.step_s for rate in rates)
        self.step_s[shape, f"{mode}, {len(rates)} at once"] = step_s
        self.prediction_s[shape] = min(rates[0].prediction_s, self.prediction_s.get(shape, math.inf))
        alone = rates[0]
        samples_s, tokens_s = sum(rate.samples_s for rate in rates), sum(rate.tokens_s for rate in rates)
        print(
            f"{label}: {samples_s:.1f} samples/s, {tokens_s:,.0f} tokens/s, {1e3 * step_s:.2f} ms a step, "
            f"{1e3 * alone.prediction_s:.2f} ms a prediction; {alone.memory_gib:.1f} GiB a seed, "
            f"{alone.device_gib:.1f} on the device; ready after {elapsed_s:.1f} s, first steps {alone.first_s:.1f} s; "
            f"logits off by {alone.difference:.1e} of {alone.logits:.1e}, loss {alone.loss:.4f}",
            flush=True,
        )

    def estimate(self) -> None:
        """Of the 72 fine-tunes, by the best variant of each shape; nothing where a shape is missing."""
        best = {shape: self._best(shape) for shape in get_args(ShapeName)}
        missing = [shape for shape, found in best.items() if found is None]
        if missing:
            print(f"72 fine-tunes: not estimated, nothing was measured of {', '.join(missing)}", flush=True)
            return
        benchmark, total_s = load_benchmark(BENCHMARK), 0.0
        for task in benchmark.tasks:
            shape = shape_of(task)
            found = best[shape]
            assert found is not None
            steps, predicted = sizes(task)
            seconds = len(benchmark.seeds) * (steps * found[1] + predicted * self.prediction_s[shape])
            total_s += seconds
            print(
                f"  {task.name:13} {len(benchmark.seeds)} x {steps:6,} steps, {predicted:7,.0f} predictions: "
                f"{seconds / 60:5.1f} min ({found[0]})",
                flush=True,
            )
        count = len(benchmark.tasks) * len(benchmark.seeds)
        print(f"{count} fine-tunes: {total_s / 3600:.2f} h by the best of each shape (goal 0.45 h)", flush=True)

    def _best(self, shape: ShapeName) -> tuple[str, float] | None:
        known = [(variant, step_s) for (of, variant), step_s in self.step_s.items() if of == shape]
        return min(known, key=lambda one: one[1], default=None)


def shape_of(task: Task) -> ShapeName:
    if task.type != "ner":
        return "cases"
    return "titles" if task.name == "medline" else "windows"


def sizes(task: Task) -> tuple[int, float]:
    """Steps of a fine-tuning, and documents that it predicts, as far as the benchmark says how many there are."""
    if task.steps is not None:
        return task.steps, 0.0
    assert task.documents is not None
    assert task.epochs is not None
    count, split = task.documents.count, task.split
    train, validation, test = (
        (float(count), 0.0, 0.0)
        if split is None
        else tuple(count * part / 100 for part in (split.train, split.validation, split.test))
    )
    return task.epochs * math.ceil(train / task.batch_sequences), task.epochs * validation + test


def _answers(workers: Sequence[Worker], order: Order, limit_s: float) -> list[Rate | str]:
    """Workers first get ready, each in its time, and then measure together."""
    until = time.monotonic() + limit_s
    ready = list(_each(workers, order, until))
    if any(ready):
        return [problem or "another seed was not ready" for problem in ready]
    return [answer or "no figures" for answer in _each(workers, "go", until)]


def _each(workers: Sequence[Worker], message: Order | str, until: float) -> Iterator[Rate | str | None]:
    for worker in workers:
        worker.send(message)
    for worker in workers:
        yield worker.answer(until - time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small model and short documents, for a CPU")
    parser.add_argument("--limit-s", type=float, help="begin nothing after so many seconds; else 110, 500 if tiny")
    options = parser.parse_args()
    ends_at = time.monotonic() + (options.limit_s or (500 if options.tiny else 110))
    context = multiprocessing.get_context("spawn")
    workers = [start(context, 42)]
    bench = Bench(workers, options.tiny, ends_at)
    try:
        bench.one("padded", "cases")
        workers += [start(context, 42 + number) for number in range(1, max(SEEDS_AT_ONCE))]
        for mode in ("joined", "joined, fused", "joined, graph"):
            bench.one(mode, "cases")
        bench.one("joined, fused", "titles")
        bench.one("joined, fused", "windows")
        bench.estimate()
        bench.several("joined, fused", "cases", SEEDS_AT_ONCE)
        bench.several("joined, fused", "titles", SEEDS_AT_ONCE[1:])
        bench.several("joined, fused", "windows", SEEDS_AT_ONCE[:2])
        bench.estimate()
        bench.several("joined", "cases", SEEDS_AT_ONCE[1:])
        bench.one("padded", "titles")
        bench.one("padded", "windows")
        for mode in ("joined, compiled", "joined, static"):
            bench.one(mode, "cases")
    finally:
        for worker in workers:
            worker.end()
    sys.exit(f"{bench.failed} variants failed" if bench.failed else 0)


if __name__ == "__main__":
    main()
