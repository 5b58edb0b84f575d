"""The evaluate and summarize jobs, on stages as `detour.planning` makes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from detour.config.fields import File
from detour.corpus.fingerprints import fingerprint
from detour.errors import UserError
from detour.jobs import evaluate, summarize
from detour.jobs.context import StageContext
from detour.ledger.attempt import Attempt
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from detour.tasks.supported import unsupported_tasks
from tests.evaluation.conftest import make_multilabel_task, make_task
from tests.support.recipes import make_recipe

TASKS = (make_task(epochs=1), make_multilabel_task(name="all-organs", epochs=1))


def plan(task_file: Path) -> Plan:
    content = Content((task_file,), (fingerprint(task_file),))

    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else content

    benchmark = {"name": "b", "tasks": [task.model_dump(mode="json") for task in TASKS], "seeds": [1, 2]}
    recipe = make_recipe({"benchmark": benchmark})
    assert recipe.benchmark is not None
    assert unsupported_tasks(recipe.benchmark) == {}
    return Planner(inspect).plan(recipe)


def context(stage: Stage, inputs: dict[str, Path], folder: Path) -> StageContext[Any]:
    """Return a context as the harness makes it, of a stage read back from disk."""
    work_dir, output_dir = folder / stage.id / "work", folder / stage.id / "output"
    work_dir.mkdir(parents=True)
    output_dir.mkdir()
    again = Stage.from_json(json.loads(json.dumps(stage.to_json())))
    return StageContext(again, inputs, work_dir, output_dir, Attempt())


def test_every_seed_writes_its_own_result_and_the_summary_reads_all(
    task_file: Path, model_folder: Path, tmp_path: Path
) -> None:
    stages = plan(task_file).stages
    for stage in stages:
        if stage.kind == "evaluate":
            shown = evaluate.run(context(stage, {"model": model_folder}, tmp_path))
            output = tmp_path / stage.id / "output"
            result = json.loads((output / "result.json").read_text(encoding="utf-8"))
            assert shown == {key: result[key] for key in shown}
            assert result["documents"]["test"] == 40
            assert len((output / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 40
    summarizing = stages[-1]
    inputs = {role: tmp_path / stage_id / "output" for role, stage_id in summarizing.inputs.items()}
    shown = summarize.run(context(summarizing, inputs, tmp_path))
    output = tmp_path / summarizing.id / "output"
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["tasks"]) == ["organs", "all-organs"]
    assert summary["tasks"]["all-organs"]["primary_metric"] == "micro_f1"
    assert shown == {"average": summary["average"]["primary"]["mean"], "missing": []}
    assert "organs" in (output / "summary.txt").read_text(encoding="utf-8")


def test_a_file_that_changed_since_planning_is_refused(task_file: Path, model_folder: Path, tmp_path: Path) -> None:
    changing = tmp_path / "task.jsonl"
    changing.write_bytes(task_file.read_bytes())
    stage = next(stage for stage in plan(changing).stages if stage.kind == "evaluate")
    changing.write_bytes(task_file.read_bytes() + b"\n")
    with pytest.raises(UserError, match="its content changed after the chain was planned"):
        evaluate.run(context(stage, {"model": model_folder}, tmp_path))


def test_an_evaluation_on_a_cpu_does_not_import_the_compiler() -> None:
    program = (
        "import sys, detour.jobs.evaluate; print('torch' in sys.modules, 'torch._inductor.compile_fx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
