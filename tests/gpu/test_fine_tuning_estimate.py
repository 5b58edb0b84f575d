"""The estimate of the time for 72 fine-tunes."""

from __future__ import annotations

import pytest

from tests.gpu.fine_tuning_estimate import BENCHMARK, Cost, estimate_lines, sizes
from tests.support.recipes import load_benchmark

TASKS = {task.name: task for task in load_benchmark(BENCHMARK).tasks}


@pytest.mark.parametrize(
    ("task", "steps", "predictions"),
    [
        ("fracco-30", 15 * 261, 15 * 130 + 130),  # 1,041, 130 and 130 documents, 4 a batch
        ("meddialog-fr", 15 * 225, 0),  # 900, all taken as trained on
        ("medline", 4000, 8 * 832 + 833),
    ],
)
def test_a_task_has_the_steps_of_its_epochs_and_predicts_at_each_validation(
    task: str, steps: int, predictions: int
) -> None:
    assert sizes(TASKS[task]) == (steps, predictions)


def test_hours_are_starts_plus_nine_times_models_steps_and_predictions() -> None:
    cost = Cost("any", build_s=1, step_s=0.001, prediction_s=0)
    steps = sum(sizes(task)[0] for task in TASKS.values())
    lines = list(estimate_lines({"cases": cost, "notes": cost, "windows": cost, "titles": cost}, once_s=10, cold_s=30))
    hours = (30 + 8 * 10 + 72 * 1 + 9 * steps * 0.001) / 3600
    assert lines[-1].startswith(f"72 fine-tunes: {hours:.2f} h, of which compiling for the first time 30 s")
    assert len(lines) == 9


def test_nothing_is_estimated_without_a_measurement_of_each_shape() -> None:
    cost = Cost("any", build_s=1, step_s=0.001, prediction_s=0)
    lines = list(estimate_lines({"notes": cost}, once_s=10, cold_s=30))
    assert lines[-1] == "  fracco-30: cases were not measured, so there is no estimate"
