"""A stage starts only in the environment from which its chain was submitted."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from detour.config.loading import load_cluster
from detour.environment import VARIABLE, differences, expected_environment
from detour.errors import DetourError, PermanentFailure
from detour.jobs.environment import gpus_held, require_environment
from detour.jobs.harness import run_stage
from detour.jobs.log import LOGGER
from detour.jobs.rank import read_rank
from detour.ledger.workspace import Workspace
from detour.orchestration.slurm import script_style
from tests.support.stages import prepare_stage

HERE = expected_environment(cuda=False)


def planned(cuda: bool = False, python: str | None = None, **packages: str | None) -> dict[str, Any]:
    """Return this environment as a submission records it, with some differences."""
    return {"python": python or HERE["python"], "packages": HERE["packages"] | packages, "cuda": cuda}


def decisive(expected: dict[str, Any]) -> list[str]:
    return differences(expected, HERE)[0]


def test_the_environment_matches_itself() -> None:
    assert decisive(planned()) == []
    assert differences(planned(), planned()) == ([], [])


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (planned(python="3.12.1"), [f"Python {HERE['python']} instead of 3.12.1"]),
        (planned(torch="2.4.0"), [f"torch {HERE['packages']['torch']} instead of 2.4.0"]),
        (
            planned(transformers="1.0", mosaicml="2.0", numpy="3.0"),
            [
                f"transformers {HERE['packages']['transformers']} instead of 1.0",
                f"mosaicml {HERE['packages']['mosaicml']} instead of 2.0",
            ],
        ),
    ],
)
def test_packages_that_affect_the_result_must_be_the_same(expected: dict[str, Any], message: list[str]) -> None:
    assert decisive(expected) == message


def test_builds_and_patch_releases_can_differ() -> None:
    torch = str(HERE["packages"]["torch"]).partition("+")[0]
    python = ".".join([*HERE["python"].split(".")[:2], "99"])
    assert decisive(planned(python=python, torch=f"{torch}+cu130")) == []


def test_packages_missing_at_submission_are_not_required() -> None:
    assert decisive(planned(torch=None)) == []


def test_less_important_packages_are_only_named(caplog: pytest.LogCaptureFixture) -> None:
    require_environment("prepare", {VARIABLE: json.dumps(planned(submitit="0.1"))})
    assert "submitit 1.5.4 instead of 0.1" in caplog.text


def test_a_removed_package_is_missing() -> None:
    found = planned(torch=None)
    assert differences(planned(torch="2.13.0"), found) == (["torch missing instead of 2.13.0"], [])


def test_without_a_record_nothing_is_compared(caplog: pytest.LogCaptureFixture) -> None:
    require_environment("pretrain", {"SLURM_GPUS_ON_NODE": "4"})
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("environment", "held"),
    [
        ({}, 0),
        ({"SLURM_GPUS_ON_NODE": "4"}, 4),
        ({"SLURM_GPUS_ON_NODE": "4", "CUDA_VISIBLE_DEVICES": "0,1,2,3"}, 4),
        ({"SLURM_GPUS_ON_NODE": "4", "CUDA_VISIBLE_DEVICES": "2"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-2"}, 2),
        ({"SLURM_GPUS_ON_NODE": "0", "CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0),
    ],
)
def test_the_gpus_of_a_process_follow_its_environment(environment: dict[str, str], held: int) -> None:
    assert gpus_held(environment) == held


@pytest.mark.parametrize("kind", ["pretrain", "evaluate"])
def test_gpus_must_be_usable_by_torch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    holding = {VARIABLE: json.dumps(planned(cuda=True)), "SLURM_GPUS_ON_NODE": "1024"}
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(PermanentFailure, match=r"1024 GPU\(s\), but torch .* was built without GPU support"):
        require_environment(kind, holding)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(DetourError, match=r"1024 GPU\(s\) of which torch sees \d+: this node is broken") as caught:
        require_environment(kind, holding)
    assert caught.value.exit_code == 1
    require_environment("prepare", holding)
    require_environment(kind, holding | {VARIABLE: json.dumps(planned(cuda=False))})


def test_a_job_in_another_environment_fails_for_good(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    stage = prepare_stage()
    workspace.stage(stage.id).mkdir(parents=True)
    (workspace.stage(stage.id) / "stage.json").write_text(json.dumps(stage.to_json()))
    monkeypatch.setenv(VARIABLE, json.dumps(planned(python="3.10.2", torch="2.4.0")))
    assert run_stage(workspace, stage.id, read_rank({}), executor=None, wall_limit_s=None) == PermanentFailure.exit_code
    reason = json.loads(workspace.failure(stage.id).read_bytes())["reason"]
    assert reason in caplog.text
    assert "Python 3.11" in reason
    assert "instead of 3.10.2, torch 2.13.0" in reason
    assert "`detour retry`" in reason
    assert "\n" not in reason


@pytest.mark.parametrize(("cluster", "cuda"), [("slurm-local", False), ("jean-zay", True), ("local", False)])
def test_a_submission_records_its_environment(cluster: str, cuda: bool, tmp_path: Path) -> None:
    environment = script_style(Workspace(tmp_path), load_cluster(cluster), None).environment
    assert environment is not None
    assert json.loads(environment[VARIABLE]) == planned(cuda=cuda)
    require_environment("prepare", environment)


def test_recording_imports_no_torch() -> None:
    code = f"""
import sys
from detour.jobs.log import LOGGER
from detour.jobs.environment import require_environment
from detour.environment import expected_environment
import json
import logging
require_environment("pretrain", {{"{VARIABLE}": json.dumps(expected_environment(cuda=True))}})
print("torch" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False\n"
