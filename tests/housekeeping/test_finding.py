"""What can be removed from a workspace, and what must stay."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detour.housekeeping.finding import Kind, Removable, Survey, UnreadablePlan, find
from detour.housekeeping.pins import pin, pinned, unpin
from detour.ledger.claims import claim
from detour.ledger.events import StageFailed, StageSubmitted
from detour.ledger.journal import command_journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from tests.housekeeping.workspaces import make_workspace

INPUTS: Mapping[str, Sequence[str]] = {
    "prepare-1": (),
    "pretrain-1": ("prepare-1",),
    "promote-1": ("pretrain-1",),
    "pretrain-old": ("prepare-old",),
    "prepare-old": (),
}
"""The last planned chain, and stages of an earlier plan of it."""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, INPUTS, {"base": ("prepare-1", "pretrain-1", "promote-1")})


def removable(workspace: Workspace) -> list[Removable]:
    return list(find(Survey(workspace, LedgerView(workspace).state)))


def named(found: Sequence[Removable]) -> dict[str, Kind]:
    return {one.path.name: one.kind for one in found}


def test_stages_of_an_earlier_plan_are_removable_with_bytes_and_inodes(workspace: Workspace) -> None:
    found = removable(workspace)
    assert named(found) == {"prepare-old": Kind.STAGE, "pretrain-old": Kind.STAGE}
    (prepare, _) = found
    assert prepare.extent.inodes == 5, "two folders, stage.json, manifest.json and the model"
    assert prepare.extent.size_bytes > 0


@pytest.mark.parametrize("name", ["copy of pretrain-old", "pretrain-old.bak", "backup-2025", ".snapshot"])
def test_a_folder_that_is_no_stage_is_not_removable(workspace: Workspace, name: str) -> None:
    workspace.stage("pretrain-old").rename(workspace.root / "stages" / name)
    assert named(removable(workspace)) == {"prepare-old": Kind.STAGE}


def test_a_pinned_stage_and_everything_it_is_made_of_stay(workspace: Workspace) -> None:
    pin(workspace, ["pretrain-old"], "the paper's")
    assert removable(workspace) == []
    assert unpin(workspace, ["pretrain-old", "promote-1"]) == ["pretrain-old"]
    assert len(removable(workspace)) == 2


def test_a_pin_keeps_its_reason(workspace: Workspace) -> None:
    pin(workspace, ["prepare-old"], "the paper's")
    assert pinned(workspace) == {"prepare-old"}
    assert (workspace.root / "pins" / "prepare-old").read_text() == "the paper's\n"


def test_a_running_stage_stays(workspace: Workspace) -> None:
    with claim(workspace, "pretrain-old", "an attempt"):
        assert removable(workspace) == []


def test_a_stage_with_a_pending_job_stays_with_its_inputs(workspace: Workspace) -> None:
    (workspace.manifest("pretrain-old")).unlink()
    with command_journal(workspace) as journal:
        journal.append(StageSubmitted(), stage="pretrain-old", job="7")
    assert removable(workspace) == []


def test_a_stage_that_failed_stays_once_its_retry_is_pending_whatever_the_clock_of_its_node(
    workspace: Workspace,
) -> None:
    (workspace.manifest("pretrain-old")).unlink()
    workspace.failure("pretrain-old").touch()
    with command_journal(workspace) as journal:
        journal.append(StageSubmitted(), stage="pretrain-old", job="7")
        journal.append(StageFailed(reason="NaN"), stage="pretrain-old", job="6", attempt=1)
    assert len(removable(workspace)) == 2
    workspace.failure("pretrain-old").unlink()
    assert removable(workspace) == []


def test_a_model_with_a_link_to_it_stays(workspace: Workspace) -> None:
    (workspace.root / "models" / "old").symlink_to("../stages/pretrain-old/output")
    assert removable(workspace) == []


@pytest.mark.parametrize(("link", "kept"), [("base@production", True), ("base", False)])
def test_a_model_with_an_alias_keeps_its_scores(tmp_path: Path, link: str, kept: bool) -> None:
    inputs = {"export-old": (), "evaluate-a": ("export-old",), "evaluate-b": ("export-other",), "summarize-1": ()}
    workspace = make_workspace(tmp_path, inputs, {"base": ()})
    (workspace.root / "models" / link).symlink_to("../stages/export-old/output")
    (workspace.stage("evaluate-b") / "stage.json").write_text("{")
    found = named(removable(workspace))
    assert set(found) == {"evaluate-b", "summarize-1", *(() if kept else ("evaluate-a",))}


def test_resume_files_are_removable_once_the_stage_is_done(workspace: Workspace) -> None:
    for stage in ("pretrain-1", "promote-1"):
        (workspace.stage(stage) / "work" / "step-000000000010-abc").mkdir(parents=True)
    workspace.manifest("promote-1").unlink()
    kinds = [(one.kind, one.stage) for one in removable(workspace) if one.kind is not Kind.STAGE]
    assert kinds == [(Kind.WORK, "pretrain-1")]


def test_of_an_unfinished_stage_only_files_that_no_attempt_resumes_from_are_removable(workspace: Workspace) -> None:
    workspace.manifest("pretrain-1").unlink()
    work, folder = workspace.stage("pretrain-1") / "work", workspace.stage("pretrain-1")
    for name in ("step-000000000020-abc", "damaged-step-000000000010-abc", ".writing-30-7", ".removing-step-1"):
        (work / "checkpoints" / name).mkdir(parents=True)
    (folder / "output.0001").mkdir()
    found = {name: kind for name, kind in named(removable(workspace)).items() if kind is not Kind.STAGE}
    assert found == {
        "output.0001": Kind.OUTPUT,
        "damaged-step-000000000010-abc": Kind.CHECKPOINT,
        ".writing-30-7": Kind.CHECKPOINT,
        ".removing-step-1": Kind.CHECKPOINT,
    }


def test_old_code_is_removable_when_no_job_is_pending(workspace: Workspace) -> None:
    for age, name in enumerate(("newest", "older", "oldest")):
        (workspace.root / "code" / name).mkdir()
        os.utime(workspace.root / "code" / name, (1e9 - age, 1e9 - age))
    assert {name for name, kind in named(removable(workspace)).items() if kind is Kind.CODE} == {"older", "oldest"}
    workspace.manifest("promote-1").unlink()
    with command_journal(workspace) as journal:
        journal.append(StageSubmitted(), stage="promote-1", job="7")
    assert [one for one in removable(workspace) if one.kind is Kind.CODE] == []


def test_compiled_kernels_are_removable_while_no_job_is_pending(workspace: Workspace) -> None:
    (workspace.root / "compiled" / "1000").mkdir(parents=True)
    assert named(removable(workspace))["1000"] is Kind.COMPILED
    workspace.manifest("promote-1").unlink()
    with command_journal(workspace) as journal:
        journal.append(StageSubmitted(), stage="promote-1", job="7")
    assert "1000" not in named(removable(workspace))


def test_with_an_unreadable_plan_no_stage_is_removable(workspace: Workspace) -> None:
    (workspace.root / "chains" / "other").mkdir()
    (workspace.root / "chains" / "other" / "plan.json").write_text("{")
    with pytest.raises(UnreadablePlan, match=r"other/plan\.json.*until then nothing is removed"):
        removable(workspace)


def test_a_pinned_stage_with_unknown_inputs_keeps_everything(workspace: Workspace) -> None:
    pin(workspace, ["pretrain-old"], "")
    (workspace.stage("pretrain-old") / "stage.json").write_text("{")
    with pytest.raises(UnreadablePlan, match="pinned or in use"):
        removable(workspace)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Return stage -> its inputs, which precede it."""
    graph: dict[str, tuple[str, ...]] = {}
    for number in range(draw(st.integers(1, 14))):
        names = list(graph)
        inputs = draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else []
        graph[f"pretrain-{number}"] = tuple(inputs)
    return graph


def ancestors(graph: Mapping[str, Sequence[str]], stage: str) -> set[str]:
    """By definition, step by step: an input, or an input of one."""
    return {stage}.union(*(ancestors(graph, one) for one in graph[stage]))


@settings(max_examples=30, deadline=None)
@given(graphs(), st.data())
def test_exactly_the_stages_that_no_wanted_stage_is_made_of_are_removable(
    tmp_path_factory: pytest.TempPathFactory, graph: dict[str, tuple[str, ...]], data: st.DataObject
) -> None:
    stages = st.sets(st.sampled_from(sorted(graph)), max_size=3)
    planned, pins, running = data.draw(stages), data.draw(stages), data.draw(stages)
    workspace = make_workspace(tmp_path_factory.mktemp("gc"), graph, {"chain": sorted(planned)} if planned else {})
    pin(workspace, pins, "")
    claims = [claim(workspace, stage, "an attempt") for stage in running]
    gone = {one.stage for one in removable(workspace) if one.kind is Kind.STAGE}
    for held in claims:
        held.release()
    wanted = planned | pins | running
    assert gone == set(graph).difference(*(ancestors(graph, stage) for stage in wanted))
