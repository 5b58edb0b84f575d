"""Continuing after a submit limit: the stored order, what it waits for, and when it stops."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from detour.config.loading import available_clusters, load_cluster
from detour.errors import SchedulerUnavailable, StageFailed, UserError
from detour.jobs.log import LOGGER
from detour.jobs.next_wave import patiently, send_wave
from detour.ledger.workspace import Workspace
from detour.orchestration.requests import JobOptions
from detour.orchestration.slurm import submission_folder
from detour.orchestration.waves import ORDER, Continuation, LeftOut, continuations, last_jobs, leave_out
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.tags import Slot
from tests.support.stages import prepare_stage, pretrain_stage

CLUSTER = load_cluster("slurm-local")
PREPARE = prepare_stage()
TRAIN = pretrain_stage("clm", {"corpus": PREPARE.id})
ORDERED = Continuation("c", None, {"c": (PREPARE.id, TRAIN.id)}, CLUSTER, JobOptions(gpus=1, segments=3), 0, "why not")


def job(stage: str, *after: str, segments: int = 1) -> JobRequest:
    return JobRequest(((stage,),), Resources(), wall_s=60, segments=segments, after=after)


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    for stage in (PREPARE, TRAIN):
        workspace.stage(stage.id).mkdir()
        (workspace.stage(stage.id) / "stage.json").write_text(json.dumps(stage.to_json()))
    return workspace


@pytest.mark.parametrize("name", available_clusters())
def test_an_order_survives_the_round_trip(workspace: Workspace, name: str) -> None:
    ordered = replace(ORDERED, cluster=load_cluster(name))
    folder = submission_folder(workspace, "continue-x-1")
    folder.mkdir(parents=True)
    (folder / ORDER).write_text(json.dumps(ordered.to_json()))
    assert Continuation.read(workspace, "continue-x-1") == ordered
    assert continuations(workspace, ["c"]) == {"continue-x-1": "next wave of c"}
    assert continuations(workspace, ["other"]) == {}
    with pytest.raises(UserError, match="no such order"):
        Continuation.read(workspace, "continue-x-2")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"chains": 5, "name": "d"}', '{"chains": ["c"]}'])
def test_a_damaged_order_keeps_no_other_from_being_cancelled(workspace: Workspace, content: str) -> None:
    for unit, text in (("continue-x-1", content), ("continue-x-2", json.dumps(ORDERED.to_json()))):
        submission_folder(workspace, unit).mkdir(parents=True)
        (submission_folder(workspace, unit) / ORDER).write_text(text)
    assert continuations(workspace, ["c"]) == {"continue-x-2": "next wave of c"}
    with pytest.raises(UserError, match="not an order written by detour"):
        Continuation.read(workspace, "continue-x-1")


def order_file(workspace: Workspace, unit: str, **chains: list[str]) -> Path:
    path = submission_folder(workspace, unit) / ORDER
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**ORDERED.to_json(), "chains": chains}))
    os.utime(path, (1000.0, 1000.0))
    return path


def chains_in(path: Path) -> dict[str, list[str]]:
    return dict(json.loads(path.read_text())["chains"])


def test_a_cancelled_stage_is_not_in_the_next_wave(workspace: Workspace) -> None:
    sent = order_file(workspace, "continue-x-1", c=["a", "b", "d"])
    pending = order_file(workspace, "continue-x-10", c=["a", "b", "d"])
    workspace.output("d").mkdir(parents=True)
    (workspace.output("d") / "manifest.json").write_text("{}")
    assert leave_out(workspace, [], ["b", "other"]) == LeftOut(("b",), {})
    assert chains_in(pending) == {"c": ["a", "d"]}
    assert pending.stat().st_mtime == 1000.0, "checkpoints since then show that the wave has made progress"
    assert chains_in(sent) == {"c": ["a", "b", "d"]}
    assert leave_out(workspace, [], ["a"]) == LeftOut(("a",), {"continue-x-10": "next wave of c"})
    assert leave_out(workspace, [], ["a"]) == LeftOut((), {})


def test_a_cancelled_chain_leaves_the_next_wave_to_the_others_of_its_sweep(workspace: Workspace) -> None:
    pending = order_file(workspace, "continue-x-1", c=["shared", "of-c"], d=["shared", "of-d"])
    assert leave_out(workspace, ["c"], ["of-c"]) == LeftOut(("of-c",), {})
    assert chains_in(pending) == {"c": [], "d": ["shared", "of-d"]}
    assert leave_out(workspace, ["d"], ["shared", "of-d"]).ended == {"continue-x-1": "next wave of c"}


def test_a_wave_ends_with_all_segments_of_stages_without_dependents() -> None:
    requests = [job("a"), job("b", "a", segments=2), job("c", "a"), job("d", "c")]
    jobs = {Slot("a"): "1", Slot("b"): "2", Slot("b", 2): "3", Slot("c"): "4"}
    assert last_jobs(requests, jobs) == ["2", "3", "4"]


def ordered(workspace: Workspace, continuation: Continuation = ORDERED, unit: str = "continue-x-1") -> str:
    """Write an order and return its unit."""
    path = submission_folder(workspace, unit) / ORDER
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(continuation.to_json()))
    os.utime(path, (1000.0, 1000.0))
    return unit


def test_a_wave_without_progress_is_the_last(workspace: Workspace) -> None:
    with pytest.raises(StageFailed, match="made no progress"):
        send_wave(workspace, ordered(workspace))


def test_permanently_failed_stages_and_their_dependents_are_left_out(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    (workspace.stage(TRAIN.id) / "work/checkpoints/step-8").mkdir(parents=True)
    workspace.failure(PREPARE.id).write_text("{}")
    caplog.set_level(logging.INFO, LOGGER.name)
    send_wave(workspace, ordered(workspace))
    assert "nothing is left to submit" in caplog.text


def test_a_slurm_that_does_not_answer_is_asked_again() -> None:
    answers = iter([SchedulerUnavailable("down"), None])
    pauses: list[float] = []

    def act() -> None:
        if error := next(answers):
            raise error

    patiently(act, pauses.append)
    assert len(pauses) == 1
