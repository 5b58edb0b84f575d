"""Every task of the French benchmark, and an English one of each kind, from files in their published layouts to scores.

As an array on a real Slurm, with all seeds and killed at random: `python -m tests.benchmarks.whole_benchmark`.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from detour.config.models import Task
from detour.evaluation.evaluators import evaluate
from detour.ledger.attempt import Attempt
from detour.tasks.files import task_files
from tests.support.layouts import ENGLISH, write_all
from tests.support.recipes import load_benchmark

BENCHMARKS = Path(__file__).parents[2] / "configs" / "benchmarks"
TINY = {"max_length": 32, "epochs": None, "steps": 1, "validate_every": 1}
FRENCH = (
    "diamed",
    "meddialog-fr",
    "fracco-30",
    "fracco-100",
    "cantemist-fr",
    "distemist-fr",
    "emea",
    "medline",
)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    root = tmp_path_factory.mktemp("tasks")
    write_all(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETOUR_TASKS", str(root))
        shipped = [load_benchmark(BENCHMARKS / f"{name}-biomedical.yaml").tasks for name in ("french", "english")]
    return {task.name: task.model_copy(update=TINY) for task in (*shipped[0], *shipped[1])}


@pytest.mark.parametrize("name", [*FRENCH, *ENGLISH])
def test_a_task_runs_from_its_files_to_its_scores(
    name: str, tasks: dict[str, Task], model_folder: Path, tmp_path: Path
) -> None:
    task = tasks[name]
    assert task.data is not None
    evaluation = evaluate(task, task_files(task.data), model_folder, 42, tmp_path, Attempt())
    result = json.loads(json.dumps(evaluation.result, allow_nan=False))
    assert {"micro_f1", "macro_f1"} <= result["test"].keys()
    assert all(math.isfinite(score) and 0 <= score <= 1 for score in result["test"].values())
    assert set(result["classes"]) == set(result["labels"])
    assert len(evaluation.predictions) == result["documents"]["test"]


def test_the_tasks_are_all_french_ones_and_an_english_one_of_each_kind(tasks: dict[str, Task]) -> None:
    english = load_benchmark(BENCHMARKS / "english-biomedical.yaml").tasks
    assert tasks.keys() == {*FRENCH, *(task.name for task in english)}
    assert {tasks[name].type for name in ENGLISH} == {"single_label", "multilabel", "ner"}
