"""Seeds of one task in one process: data read once, results written as seeds end, none repeated."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from detour.checkpoints.manifest import write_manifest
from detour.checkpoints.provenance import provenance
from detour.config.fields import File
from detour.errors import Interrupted, PermanentFailure, UserError
from detour.evaluation import evaluators
from detour.evaluation.finetune import FineTuning
from detour.jobs import __main__ as job
from detour.ledger.workspace import Workspace
from detour.orchestration.plans import inspect_entry
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.stage import EvaluateStage, ExportStage, Stage
from tests.support.layouts import write_quaero
from tests.support.recipes import make_recipe

SEEDS = (42, 43, 44)


class Killed(BaseException):
    """Not caught by any code of the job."""


def planned(root: Path) -> tuple[ExportStage, list[EvaluateStage]]:
    task = {
        "name": "emea",
        "type": "ner",
        "data": {"path": str(root / "QUAERO" / "corpus" / "*" / "EMEA"), "reader": "brat", "split_files": True},
        "max_length": 32,
        "steps": 2,
    }

    def inspect(entry: File | str) -> Content | None:
        is_source = isinstance(entry, File) and entry.path == "labels.csv"
        return Content((Path("/any/labels.csv"),), ("f",)) if is_source else inspect_entry(entry)

    recipe = make_recipe({"benchmark": {"name": "b", "tasks": [task], "seeds": list(SEEDS)}})
    stages = Planner(inspect).plan(recipe).stages
    export = next(stage for stage in stages if isinstance(stage, ExportStage))
    return export, [stage for stage in stages if isinstance(stage, EvaluateStage)]


def written(workspace: Workspace, stage: Stage) -> None:
    workspace.stage(stage.id).mkdir(parents=True)
    (workspace.stage(stage.id) / "stage.json").write_text(json.dumps(stage.to_json()))


def prepared(root: Path, model_folder: Path) -> tuple[Workspace, list[EvaluateStage]]:
    """A workspace up to the export."""
    write_quaero(root)
    workspace = Workspace(root / "workspace")
    workspace.create()
    export, stages = planned(root)
    for stage in (export, *stages):
        written(workspace, stage)
    shutil.copytree(model_folder, workspace.output(export.id))
    write_manifest(workspace.output(export.id), {"stage": export.to_json(), "attempt": 1, "result": {}, **provenance()})
    return workspace, stages


def all_of(workspace: Workspace, stages: list[EvaluateStage]) -> list[str]:
    """Arguments of the job that runs all of these seeds."""
    return ["--workspace", str(workspace.root), *(stage.id for stage in stages)]


def result_of(workspace: Workspace, stage: EvaluateStage) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((workspace.output(stage.id) / "result.json").read_text())
    return {key: value for key, value in result.items() if key != "elapsed_s"}


def test_a_kill_costs_one_seed_and_finished_seeds_are_neither_lost_nor_repeated(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, stages = prepared(tmp_path, model_folder)
    ran: list[int] = []
    as_it_is = FineTuning.run
    evaluators.prepare.cache_clear()

    def run(self: FineTuning) -> Any:
        ran.append(self.seed)
        if ran == [42, 43]:
            raise Killed
        return as_it_is(self)

    monkeypatch.setattr(FineTuning, "run", run)
    monkeypatch.setenv("DETOUR_SEEDS_AT_ONCE", "1")
    arguments = all_of(workspace, stages)
    with pytest.raises(Killed):
        job.main(arguments)
    first = workspace.output(stages[0].id) / "result.json"
    before = first.stat().st_mtime_ns
    assert [workspace.is_done(stage.id) for stage in stages] == [True, False, False]
    assert job.main(arguments) == 0
    assert ran == [42, 43, 43, 44]
    assert first.stat().st_mtime_ns == before
    results = [json.loads((workspace.output(stage.id) / "result.json").read_text()) for stage in stages]
    assert [result["seed"] for result in results] == list(SEEDS)
    assert evaluators.prepare.cache_info().misses == 1, "the documents are read once for all seeds"


def test_concurrent_seeds_give_the_same_results_as_sequential_ones(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, (first, second, _) = prepared(tmp_path, model_folder)
    at_once = Workspace(Path(shutil.copytree(workspace.root, tmp_path / "at once")))
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("DETOUR_SEEDS_AT_ONCE", "1")
    assert job.main(["--workspace", str(workspace.root), first.id, second.id]) == 0
    monkeypatch.setenv("DETOUR_SEEDS_AT_ONCE", "2")
    command = [sys.executable, "-m", "detour.jobs", "--workspace", str(at_once.root), first.id, second.id]
    ended = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 0
    assert not [line for line in ended.stderr.splitlines() if "weights" in line or "UNEXPECTED" in line]
    assert [result_of(at_once, stage) for stage in (first, second)] == [
        result_of(workspace, stage) for stage in (first, second)
    ]
    pids = {
        json.loads((at_once.stage(stage.id) / "attempts" / "0001.json").read_text())["pid"] for stage in (first, second)
    }
    assert len(pids) == 2


def test_a_permanently_failing_seed_leaves_later_seeds_to_run(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, stages = prepared(tmp_path, model_folder)
    as_it_is = FineTuning.run

    def run(self: FineTuning) -> Any:
        if self.seed == SEEDS[0]:
            raise PermanentFailure("the loss is nan at step 0")
        return as_it_is(self)

    monkeypatch.setattr(FineTuning, "run", run)
    monkeypatch.setenv("DETOUR_SEEDS_AT_ONCE", "1")
    assert job.main(all_of(workspace, stages)) == PermanentFailure.exit_code
    assert [workspace.is_done(stage.id) for stage in stages] == [False, True, True]


def test_a_request_to_stop_too_late_for_one_seed_stops_the_job_before_the_next(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, stages = prepared(tmp_path, model_folder)
    as_it_is = FineTuning.run

    def run(self: FineTuning) -> Any:
        outcome = as_it_is(self)
        os.kill(os.getpid(), signal.SIGUSR2)
        return outcome

    monkeypatch.setattr(FineTuning, "run", run)
    monkeypatch.setenv("DETOUR_SEEDS_AT_ONCE", "1")
    assert job.main(all_of(workspace, stages)) == Interrupted.exit_code
    assert [workspace.is_done(stage.id) for stage in stages] == [True, False, False]


def test_an_error_of_a_forked_seed_is_one_line_and_its_own_exit_code(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace, stages = prepared(tmp_path, model_folder)
    for stage in stages:
        (workspace.stage(stage.id) / "work").symlink_to(tmp_path)
    monkeypatch.setenv("DETOUR_SEEDS_AT_ONCE", "3")
    code = job.main(all_of(workspace, stages))
    shown = capfd.readouterr().err
    assert (code, shown.count("a link instead of"), "Traceback" in shown) == (UserError.exit_code, 3, False)
