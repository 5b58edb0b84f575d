"""Files that a command writes into the workspace for jobs and readers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from detour.config.loading import load_cluster
from detour.ledger.compaction import MANY
from detour.ledger.events import ChainPlanned
from detour.ledger.journal import Journal
from detour.ledger.reading import history
from detour.ledger.workspace import Workspace
from detour.orchestration.chain_files import write_chains
from detour.planning.build import Planner
from detour.planning.origins import Content
from detour.planning.plan import Plan
from detour.planning.stage import PretrainStage, Stage
from tests.support.recipes import make_recipe
from tests.support.stages import assumed_file


def plans(*names: str, microbatch: int = 1) -> Sequence[Plan]:
    planner = Planner(assumed_file)
    return [planner.plan(make_recipe({"name": name, "batch.microbatch_sequences": microbatch})) for name in names]


def read(workspace: Workspace, stage: Stage) -> Stage:
    return Stage.from_json(json.loads((workspace.stage(stage.id) / "stage.json").read_bytes()))


def test_every_stage_and_every_chain_is_written_once(workspace: Workspace) -> None:
    written = plans("one", "two")
    write_chains(workspace, written, load_cluster("local"))
    for stage in written[0].stages:
        assert read(workspace, stage) == stage
    assert len(list((workspace.root / "stages").iterdir())) == len(written[0].stages)
    for plan in written:
        shown = json.loads((workspace.chain(plan.chain) / "plan.json").read_bytes())
        assert [Stage.from_json(data) for data in shown["stages"]] == list(plan.stages)
        assert shown["site"]["pue"]["value"] == 1.0


def test_files_left_incomplete_by_a_kill_are_written_again(workspace: Workspace) -> None:
    (plan,) = plans("one")
    write_chains(workspace, [plan], load_cluster("local"))
    path = workspace.stage(plan.stages[1].id) / "stage.json"
    path.write_bytes(path.read_bytes()[:100])
    write_chains(workspace, [plan], load_cluster("local"))
    assert read(workspace, plan.stages[1]) == plan.stages[1]


def microbatch(stage: Stage) -> int:
    assert isinstance(stage, PretrainStage)
    microbatch = stage.runtime.microbatch_sequences
    assert isinstance(microbatch, int)
    return microbatch


def test_changed_runtime_values_replace_the_file_until_the_stage_is_done(workspace: Workspace) -> None:
    (before,), (after,) = plans("one"), plans("one", microbatch=2)
    write_chains(workspace, [before], load_cluster("local"))
    first, second = (stage for stage in before.stages if isinstance(stage, PretrainStage))
    workspace.output(first.id).mkdir()
    workspace.manifest(first.id).write_text("{}")
    write_chains(workspace, [after], load_cluster("local"))
    assert microbatch(read(workspace, first)) == 1, "as it was done"
    assert microbatch(read(workspace, second)) == 2


def test_a_chain_has_a_link_to_its_encoder_that_follows_a_changed_recipe(workspace: Workspace) -> None:
    (plan,) = plans("one")
    write_chains(workspace, [plan], load_cluster("local"))
    link = workspace.root / "models" / "one"
    export = next(stage for stage in plan.stages if stage.kind == "export")
    assert not link.exists()
    workspace.output(export.id).mkdir()
    assert link.resolve() == workspace.output(export.id).resolve()
    changed = Planner(lambda _: Content((Path("labels.csv"),), ("g",), 1)).plan(make_recipe({"name": "one"}))
    write_chains(workspace, [changed], load_cluster("local"))
    assert not link.exists()
    assert [path.name for path in link.parent.iterdir()] == ["one"]


def test_many_journals_of_a_past_month_become_one_file(workspace: Workspace) -> None:
    for number in range(MANY):
        with Journal.open(workspace, f"w{number}") as journal:
            journal.append(ChainPlanned(cluster="local", stages=[]), chain=f"chain-{number}")
    (month,) = workspace.ledger.iterdir()
    past = month.rename(month.with_name("2024-02"))
    write_chains(workspace, plans("one"), load_cluster("local"))
    assert [path.name.partition("-")[0] for path in past.iterdir()] == ["segment"]
    planned = {entry.chain for entry in history(workspace, (ChainPlanned,))}
    assert planned == {"one", *(f"chain-{number}" for number in range(MANY))}
