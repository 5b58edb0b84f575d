"""stage.json and plan.json: written, read back, and messages about those that cannot be read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import (
    Target,
    chain_names,
    plan_file,
    read_plan,
    read_plan_outline,
    read_stage,
    read_stage_outline,
    stage_file,
    write_plan,
    write_stage,
)
from detour.planning.plan import Plan
from detour.planning.stage import Stage
from detour.site import Site, Sourced
from tests.support.stages import make_stages, prepare_stage, pretrain_stage

TARGET = Target("here", Site("here", pue=Sourced(1.2, "operator", 2024)), 60.0)


def test_a_plan_survives_the_round_trip(workspace: Workspace) -> None:
    plan = Plan("tiny", make_stages(), missing=("labels.csv: no such file",))
    write_plan(workspace, plan, TARGET)
    assert read_plan(workspace, "tiny") == (plan, TARGET)


def test_stages_of_every_kind_survive_the_round_trip(workspace: Workspace) -> None:
    for stage in make_stages():
        write_stage(workspace, stage)
        assert read_stage(workspace, stage.id) == stage


def test_an_outline_agrees_with_its_stage(workspace: Workspace) -> None:
    for stage in make_stages():
        write_stage(workspace, stage)
        outline = read_stage_outline(workspace, stage.id)
        assert outline.id == stage.id
        assert outline.kind == stage.kind
        assert outline.name == stage.name
        assert outline.label == stage.label
        assert outline.inputs == stage.inputs


def test_the_outline_of_a_plan_has_its_stages_and_its_target(workspace: Workspace) -> None:
    write_plan(workspace, Plan("tiny", make_stages()), TARGET)
    outline = read_plan_outline(workspace, "tiny")
    assert [stage.id for stage in outline.stages] == [stage.id for stage in make_stages()]
    assert outline.target == TARGET


def test_values_of_a_target_with_a_wrong_type_are_ignored() -> None:
    assert Target.from_json({"cluster": 3, "site": {"pue": 1.2}, "poll_s": "often"}) == Target()


def test_an_evaluation_names_its_seed_separately(workspace: Workspace) -> None:
    stages = make_stages({"benchmark.tasks.0.name": "a-seed-5", "benchmark.seeds": [7]})
    write_plan(workspace, Plan("tiny", stages), TARGET)
    (outline,) = (stage for stage in read_plan_outline(workspace, "tiny").stages if stage.kind == "evaluate")
    assert (outline.name, outline.seed) == ("evaluate a-seed-5", 7)


def test_an_unknown_chain_is_answered_with_the_known_ones(workspace: Workspace) -> None:
    with pytest.raises(
        UserError, match=r"no chain named 'tiny' in .*; there is none yet: `detour run RECIPE` makes one"
    ):
        read_plan(workspace, "tiny")
    write_plan(workspace, Plan("one", ()), TARGET)
    write_plan(workspace, Plan("another", ()), TARGET)
    assert chain_names(workspace) == ["another", "one"]
    with pytest.raises(UserError, match=r"no chain named 'tiny' in .*; available: another, one"):
        read_plan_outline(workspace, "tiny")


def test_a_missing_stage_is_reported(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"prepare-0/stage\.json: no such stage; `detour plan` lists"):
        read_stage(workspace, "prepare-0")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty document"),
        ("[]", "list indices"),
        ("{}", "is missing"),
        ('{"kind": "prepare", "key": "0", "label": "prepare", "inputs": {}, "settings": {}}', "they were edited"),
    ],
)
def test_an_unreadable_stage_is_named_with_reason_and_remedy(workspace: Workspace, content: str, reason: str) -> None:
    path = stage_file(workspace, "prepare-0")
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_stage(workspace, "prepare-0")
    message = str(caught.value)
    assert message.startswith(f"{path}: not a stage written by detour (")
    assert reason in message
    assert message.endswith("); run or submit the recipe again, which rewrites it")
    assert "\n" not in message


def test_an_impossible_value_in_a_stage_is_named_in_one_line(workspace: Workspace) -> None:
    stage = pretrain_stage()
    entry = stage.to_json()
    entry["runtime"]["training"]["attention"] = "none"
    path = stage_file(workspace, stage.id)
    path.parent.mkdir()
    path.write_text(json.dumps(entry))
    with pytest.raises(UserError, match=rf"\({stage.id}: attention: Input should be .*\); run or submit") as caught:
        read_stage(workspace, stage.id)
    assert "\n" not in str(caught.value)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Return each container in it with each of its keys."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


@pytest.mark.parametrize("stage", {stage.kind: stage for stage in make_stages()}.values(), ids=lambda stage: stage.kind)
def test_any_content_of_a_stage_file_is_read_or_reported(workspace: Workspace, stage: Stage) -> None:
    path = stage_file(workspace, stage.id)
    path.parent.mkdir(parents=True)
    content = stage.to_json()
    for container, key in list(places(content)):
        kept = container[key]
        for container[key] in ([], {}, "x", None, 1e308, -1, 10**30, True):
            path.write_text(json.dumps(content))
            for read in (read_stage, read_stage_outline):
                with suppress(UserError):
                    read(workspace, stage.id)
        container[key] = kept
    path.write_text(json.dumps(content))
    assert read_stage(workspace, stage.id) == stage


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"inputs": {"corpus": []}}, "an input that is not text"),
        ({"key": 5}, "an input that is not text"),
        ({"label": None}, "an input that is not text"),
    ],
)
def test_an_outline_with_a_value_of_a_wrong_type_is_refused(
    workspace: Workspace, values: dict[str, Any], expected: str
) -> None:
    stage = prepare_stage()
    write_stage(workspace, stage)
    stage_file(workspace, stage.id).write_text(json.dumps(stage.to_json() | values))
    with pytest.raises(UserError, match=expected):
        read_stage_outline(workspace, stage.id)


@pytest.mark.parametrize(("name", "value"), [("vocabulary", "x"), ("vocabulary", 10**30), ("validation_tokens", -1)])
def test_runtime_numbers_are_validated_because_no_key_covers_them(
    workspace: Workspace, name: str, value: object
) -> None:
    stage = next(stage for stage in make_stages() if stage.kind == "pretrain")
    write_stage(workspace, stage)
    content = stage.to_json()
    content["runtime"][name] = value
    stage_file(workspace, stage.id).write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{name} is .*, expected a whole number"):
        read_stage(workspace, stage.id)


def test_a_damaged_plan_is_named(workspace: Workspace) -> None:
    plan_file(workspace, "tiny").parent.mkdir()
    plan_file(workspace, "tiny").write_text('{"stages": 3}')
    for read in (read_plan, read_plan_outline):
        with pytest.raises(UserError, match=r"chains/tiny/plan\.json: not a plan written by detour"):
            read(workspace, "tiny")


def test_the_file_of_a_done_stage_is_kept(workspace: Workspace) -> None:
    before = prepare_stage()
    write_stage(workspace, before)
    written = stage_file(workspace, before.id).read_bytes()
    workspace.output(before.id).mkdir()
    workspace.manifest(before.id).write_text("{}")
    entry = before.to_json()
    entry["runtime"]["source_bytes"] = 1
    write_stage(workspace, type(before).from_json(entry))
    assert stage_file(workspace, before.id).read_bytes() == written


def test_a_damaged_file_of_a_done_stage_is_written_again(workspace: Workspace) -> None:
    stage = prepare_stage()
    workspace.output(stage.id).mkdir(parents=True)
    workspace.manifest(stage.id).write_text("{}")
    stage_file(workspace, stage.id).write_text('{"kind": "prep')
    write_stage(workspace, stage)
    assert read_stage(workspace, stage.id) == stage


def test_outlines_are_read_without_pydantic() -> None:
    code = "import sys, detour.planning.files; print('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
