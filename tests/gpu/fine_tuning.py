"""Measure the speed of fine-tuning on this device, and estimate the time for a benchmark of 72 fine-tunes.

    python -m tests.gpu.fine_tuning [--tiny] [--limit-s SECONDS]

A base-size encoder with random weights is trained on made-up tasks (`synthetic_tasks`). The mode that jobs use comes
first, with its estimate (`fine_tuning_estimate`); then a check that concurrent seeds agree with sequential ones in the
plain mode; then other modes. Results are printed as they come, also the errors of modes that fail, and what was
skipped for lack of time. Concurrent seeds are processes, each with its own model; they share a cache of compiled code,
which the first process fills.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from detour.jobs.compile_cache import keep_compiled
from detour.jobs.concurrent_seeds import MOST
from detour.pretraining.kernel_choice import is_installed
from tests.gpu.fine_tuning_estimate import Cost, estimate_lines
from tests.gpu.fine_tuning_worker import WHOLE_STEPS, Order, Rate, Whole, Worker, start
from tests.gpu.synthetic_tasks import ShapeName

SHIPPED, PLAIN = "graphed, local", "padded"
FIRST_SEED, MOST_SEEDS = 42, 5
MEAN_APART, MOST_APART = 0.01, 0.05
"""Upper bounds on the relative difference between losses of two bf16 computations that differ only in rounding."""
ANSWER_S, TINY_ANSWER_S = 90.0, 300.0
"""Time limit for a process to answer; compiling is slow, especially on a shared CPU."""


@dataclass
class Bench:
    """The results so far, and the time when the last measurement may begin."""

    tiny: bool
    ends_at: float
    workers: dict[int, Worker] = field(default_factory=dict)
    """By seed. A process that failed is removed, as a device error persists in it."""
    start_s: float = 0.0
    failed: int = 0
    costs: dict[ShapeName, Cost] = field(default_factory=dict)
    warm_s: float = 0.0
    """Extra time of the first steps of a process's first seed, with compiled code from the cache."""
    cold_s: float = 0.0
    """Additional time of the very first compilation."""

    @property
    def answer_s(self) -> float:
        return TINY_ANSWER_S if self.tiny else ANSWER_S

    def begin(self, seeds: int) -> None:
        """Start the processes of the first `seeds` seeds that do not run yet, if there is time to use them."""
        if self.ends_at - time.monotonic() < 5:
            return
        context = multiprocessing.get_context("spawn")
        new = {seed: start(context, seed) for seed in _seeds(seeds) if seed not in self.workers}
        self.workers |= new
        started = {seed: worker.answer(self.answer_s) for seed, worker in new.items()}
        for seed, seconds in started.items():
            self._judge(f"process of seed {seed}", seed, seconds)
        good = [seconds for seconds in started.values() if isinstance(seconds, float)]
        if good:
            self.start_s = self.start_s or max(good)
            say(f"{len(good)} processes have torch and the device after {max(good):.1f} s")

    def measure(self, mode: str, shape: ShapeName, seeds: int = 1, *, counts: bool = False) -> list[Rate]:
        """Measure seeds that run concurrently. `counts`: the result is used for the estimate."""
        label = f"{shape:8} {mode:17} {seeds} at once"
        rates: list[Rate] = self._all(label, _seeds(seeds), Order(mode, shape, self.tiny))
        if rates:
            say(f"{label}: {_rates_line(rates)}")
        if rates and counts:
            self.costs[shape] = Cost(
                f"{mode}, {seeds} at once",
                build_s=mean(rate.build_s for rate in rates) / seeds + rates[0].first_s / seeds,
                step_s=1 / sum(1 / rate.step_s for rate in rates),
                prediction_s=1 / sum(1 / rate.prediction_s for rate in rates),
            )
        return rates

    def estimate(self) -> None:
        for line in estimate_lines(self.costs, self.start_s + self.warm_s, self.cold_s):
            say(line)

    def agree(self, shape: ShapeName, seeds: int) -> None:
        """Compare concurrent seeds in the shipped mode with the same seeds, run one by one, in the plain mode."""
        label = f"agreement, {shape}"
        at_once: list[Whole] = self._all(label, _seeds(seeds), Order(SHIPPED, shape, self.tiny, whole=True))
        plain = Order(PLAIN, shape, self.tiny, whole=True)
        alone: list[Whole] = [whole for seed in _seeds(seeds) if at_once for whole in self._all(label, [seed], plain)]
        if not at_once or len(alone) < seeds:
            return
        apart = [
            abs(one - other) / abs(other)
            for some, others in zip(at_once, alone, strict=True)
            for one, other in zip(some.losses, others.losses, strict=True)
        ]
        alike = [(whole.keys, whole.validations) for whole in at_once] == [
            (whole.keys, whole.validations) for whole in alone
        ]
        good = alike and mean(apart) <= MEAN_APART and max(apart) <= MOST_APART
        self.failed += not good
        tested = (" ".join(f"{whole.test:.3f}" for whole in wholes) for wholes in (at_once, alone))
        say(
            f"{label}: {'ok' if good else 'FAILED'}: {seeds} seeds, {WHOLE_STEPS} steps, {SHIPPED} at once against "
            f"{PLAIN} alone: losses {100 * mean(apart):.2f} % apart, at most {100 * max(apart):.2f} %; last ones "
            f"{' '.join(f'{whole.losses[-1]:.4f}' for whole in at_once)} against "
            f"{' '.join(f'{whole.losses[-1]:.4f}' for whole in alone)}; scores on test {' against '.join(tested)}; "
            f"{'the same' if alike else 'OTHER'} keys and validations"
        )

    def _all(self, label: str, seeds: Sequence[int], order: Order) -> list[Any]:
        """Let processes prepare, and once all are ready, act together; an empty list if any of them fails."""
        self.begin(max(seeds) - FIRST_SEED + 1)
        if (left_s := self.ends_at - time.monotonic()) < 5:
            say(f"{label}: skipped, no time left")
            return []
        until = time.monotonic() + min(self.answer_s, left_s)
        answers: list[Any] = []
        for message in (order, "go"):
            answers = self._each(seeds, message, until)
            good = [self._judge(label, seed, answer) for seed, answer in zip(seeds, answers, strict=True)]
            if not all(good):
                return []
        return answers

    def _each(self, seeds: Sequence[int], message: Order | str, until: float) -> list[Any]:
        workers = [self.workers.get(seed) for seed in seeds]
        for worker in workers:
            if worker is not None:
                worker.send(message)
        return [worker.answer(until - time.monotonic()) if worker else "no process" for worker in workers]

    def _judge(self, label: str, seed: int, answer: object) -> bool:
        if not isinstance(answer, str):
            return True
        if time.monotonic() < self.ends_at:
            self.failed += 1
            say(f"{label}: FAILED: {answer}")
        else:
            say(f"{label}: stopped, no time left")
        if seed in self.workers:
            self.workers.pop(seed).end()
        return False


def _seeds(count: int) -> range:
    return range(FIRST_SEED, FIRST_SEED + count)


def _rates_line(rates: Sequence[Rate]) -> str:
    step_s, prediction_s = (
        1 / sum(1 / each for each in some)
        for some in zip(*((rate.step_s, rate.prediction_s) for rate in rates), strict=True)
    )
    samples_s, tokens_s = sum(rate.samples_s for rate in rates), sum(rate.tokens_s for rate in rates)
    one, busy = rates[0], rates[0].busy_percent
    return (
        f"{1e3 * step_s:.2f} ms a step, all together ({1e3 * one.step_s:.1f} each, median {1e3 * one.median_s:.1f}, "
        f"slowest {1e3 * one.slowest_s:.0f}), {samples_s:.1f} samples/s, {tokens_s:,.0f} tokens/s, "
        f"{1e3 * prediction_s:.2f} ms a prediction; before: model {one.build_s:.1f} s, first steps "
        f"{'/'.join(f'{rate.first_s:.1f}' for rate in rates)} s; {one.memory_gib:.1f} GiB a seed, "
        f"{one.device_gib:.1f} on the device, busy {'unknown' if busy is None else f'{busy:.0f} %'}; "
        f"loss {one.loss:.4f}"
    )


def say(line: str) -> None:
    print(line, flush=True)


def shipped_first(bench: Bench) -> None:
    """All measurements, the most important ones first."""
    bench.begin(MOST)
    cold = bench.measure(SHIPPED, "cases", counts=True)
    bench.agree("cases", MOST)
    warm = bench.measure(SHIPPED, "cases", MOST, counts=True)
    if cold and warm:
        another_s = warm[0].first_s  # this process was already warm
        bench.warm_s = max(0.0, max(rate.first_s for rate in warm[1:]) - another_s)
        bench.cold_s = max(0.0, cold[0].first_s - another_s - bench.warm_s)
    others: tuple[ShapeName, ...] = ("windows", "titles", "notes")
    for shape in others:
        bench.measure(SHIPPED, shape, MOST, counts=True)
    bench.estimate()
    bench.agree("titles", MOST)
    if is_installed("flash_attention_4"):
        bench.measure("graphed, fa4", "cases")
        bench.measure("graphed, fa4", "cases", MOST)
    bench.begin(MOST_SEEDS)
    bench.measure(SHIPPED, "cases", MOST_SEEDS)
    for mode in ("graphed", "fused, local", "fused", "compiled", "joined", PLAIN):
        bench.measure(mode, "cases")
    bench.measure("fused, local", "cases", MOST)
    for shape in others:
        bench.measure(SHIPPED, shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small model and short documents, for a CPU")
    parser.add_argument("--limit-s", type=float, help="start no measurement after this time [145; 500 with --tiny]")
    options = parser.parse_args()
    bench = Bench(options.tiny, time.monotonic() + (options.limit_s or (500 if options.tiny else 145)))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    say(f"{device}, torch {torch.__version__}, {'a tiny' if options.tiny else 'the base'} encoder")
    with tempfile.TemporaryDirectory() as folder:
        keep_compiled(Path(folder))
        try:
            shipped_first(bench)
        finally:
            for worker in bench.workers.values():
                worker.end()
    sys.exit(f"{bench.failed} failures" if bench.failed else 0)


if __name__ == "__main__":
    main()
