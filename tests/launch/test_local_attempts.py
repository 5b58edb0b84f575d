"""What `detour run` started has a process, not a job: on every screen and in all JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from detour.launch import logs, report, show, status, why
from detour.ledger.workspace import Workspace
from tests.monitoring.workspaces import PREPARE, end, make_workspace, start
from tests.support.invoking import invoke

MARKED: dict[str, Any] = {"job": "process-4711", "cluster": "laptop"}
UNMARKED: dict[str, Any] = {"job": "4711", "cluster": "local"}
"""As earlier versions wrote it."""


@pytest.fixture(params=[MARKED, UNMARKED], ids=["marked", "unmarked"])
def workspace(tmp_path: Path, request: pytest.FixtureRequest) -> Workspace:
    made = make_workspace(tmp_path)
    folder = made.stage(PREPARE.id) / "logs"
    folder.mkdir(parents=True)
    (folder / "4711_0_log.out").write_text("MemoryError\n")
    end(start(made, PREPARE, node="n1", **request.param), "failed", exit_code=1, reason="MemoryError")
    return made


def answer(verb: click.Command, workspace: Workspace, *arguments: object) -> str:
    return invoke(verb, "-w", workspace.root, *arguments).stdout


def objects_of(verb: click.Command, workspace: Workspace, *arguments: object) -> list[dict[str, Any]]:
    """All objects in the JSON that state a job."""

    def inside(value: object) -> list[dict[str, Any]]:
        if isinstance(value, list):
            return [one for part in value for one in inside(part)]
        if not isinstance(value, dict):
            return []
        return [*([value] if "job" in value else []), *(one for part in value.values() for one in inside(part))]

    return inside(json.loads(answer(verb, workspace, "--json", *arguments)))


def test_people_read_of_a_process(workspace: Workspace) -> None:
    assert "\n  process 4711\n    attempt 1 failed, on n1" in answer(show.command, workspace, "base")
    assert ", attempt 1, process 4711, rank 0: " in invoke(logs.command, PREPARE.id, "-w", workspace.root).output
    for verb in (show.command, status.command, why.command):
        assert "job 4711" not in answer(verb, workspace, "base")
        assert "job process" not in answer(verb, workspace, "base")
    assert answer(why.command, workspace, PREPARE.id).startswith(f"base/{PREPARE.label}: ")


def test_the_log_of_a_process_is_evidence(workspace: Workspace) -> None:
    assert "MemoryError" in answer(why.command, workspace, PREPARE.id).splitlines()[1]


def test_the_log_of_a_job_of_the_same_number_is_not_shown(tmp_path: Path) -> None:
    made = make_workspace(tmp_path)
    end(start(made, PREPARE, **MARKED), "failed")
    for folder in (made.stage(PREPARE.id) / "logs", made.root / "submissions" / "other"):
        folder.mkdir(parents=True)
        (folder / "4711_0_log.out").write_text(f"in {folder.name}\n")
    assert invoke(logs.command, PREPARE.id, "-w", made.root).stdout == "in logs\n"


def test_programs_read_of_no_job(workspace: Workspace) -> None:
    (segment,) = objects_of(status.command, workspace)
    assert (segment["job"], segment["process"]) == (None, "4711")
    (log,) = objects_of(logs.command, workspace, PREPARE.id)
    assert (log["job"], log["process"]) == (None, "4711")
    for verb in (show.command, why.command, report.command):
        found = objects_of(verb, workspace, "base")
        assert found
        assert {one["job"] for one in found} == {None}
