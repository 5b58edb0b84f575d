"""Estimate the time of the 72 fine-tunes in configs/benchmarks/french-biomedical.yaml from measured step times.

Steps, batches and documents come from the benchmark. Unpublished lengths are assumed: documents of FrACCO and
CANTEMIST-FR as long as the shape `cases`, those of DISTEMIST-FR, DiaMED and MedDialog-FR as `notes`, EMEA's windows as
`windows`, MEDLINE's titles as `titles`. Where the split comes with the data, all documents count as training data.

    seconds of a task = start + first steps + seeds x (build + steps x step + predictions x prediction)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from detour.config.models import Task
from tests.gpu.synthetic_tasks import ShapeName
from tests.support.recipes import load_benchmark

BENCHMARK = Path(__file__).resolve().parents[2] / "configs" / "benchmarks" / "french-biomedical.yaml"
GOAL_H = 0.45
SPLITS = {"emea": (30, 27, 24), "medline": (833, 832, 833)}
"""Training, validation and test items of QUAERO: MEDLINE's titles as published; for EMEA, windows of about 750 tokens
from its 14,944, 13,271 and 12,042 words."""
SHAPES: dict[str, ShapeName] = {
    "diamed": "notes",
    "meddialog-fr": "notes",
    "distemist-fr": "notes",
    "emea": "windows",
    "medline": "titles",
}
"""All other tasks have the shape `cases`."""


@dataclass(frozen=True)
class Cost:
    """Measured cost per unit of work, with all concurrent seeds taken together."""

    variant: str
    build_s: float
    """Time per seed for its model and graphs, divided by the number of concurrent seeds."""
    step_s: float
    prediction_s: float


def estimate_lines(costs: Mapping[ShapeName, Cost], once_s: float, cold_s: float) -> Iterator[str]:
    """`once_s`: start-up of a job and the extra time of its first steps, with compiled code from the cache; `cold_s`:
    additional time of the very first compilation."""
    benchmark, total_s = load_benchmark(BENCHMARK), cold_s
    seeds = len(benchmark.seeds)
    for task in benchmark.tasks:
        shape = SHAPES.get(task.name, "cases")
        if shape not in costs:
            yield f"  {task.name}: {shape} were not measured, so there is no estimate"
            return
        cost, (steps, predictions) = costs[shape], sizes(task)
        seconds = once_s + seeds * (cost.build_s + steps * cost.step_s + predictions * cost.prediction_s)
        total_s += seconds
        yield (
            f"  {task.name:13}{seconds / 60:6.1f} min = {once_s:.1f} s + {seeds} x ({cost.build_s:.1f} s + "
            f"{steps:,} steps x {1e3 * cost.step_s:.2f} ms + {predictions:,} predictions x "
            f"{1e3 * cost.prediction_s:.2f} ms), {shape}, {cost.variant}"
        )
    yield (
        f"{seeds * len(benchmark.tasks)} fine-tunes: {total_s / 3600:.2f} h, of which compiling for the first time "
        f"{cold_s:.0f} s (goal {GOAL_H} h)"
    )


def sizes(task: Task) -> tuple[int, int]:
    """Steps and predicted items of one fine-tuning: the validation items at every validation, the test items once."""
    train, validation, test = _split(task)
    epoch_steps = math.ceil(train / task.batch_sequences)
    steps = task.steps or epoch_steps * (task.epochs or 0)
    validations = math.ceil(steps / (task.validate_every or epoch_steps))
    return steps, validations * validation + test


def _split(task: Task) -> tuple[int, int, int]:
    if task.name in SPLITS:
        return SPLITS[task.name]
    assert task.documents is not None
    count, split = task.documents.count, task.split
    if split is None:
        return count, 0, 0
    train, validation = (round(count * part / 100) for part in (split.train, split.validation))
    return train, validation, count - train - validation
