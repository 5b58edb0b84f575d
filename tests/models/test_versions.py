"""Versions, aliases and lineage of a model that was made twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result

from detour.checkpoints.acceptance import accept_gate
from detour.errors import UserError
from detour.launch.models import command
from detour.ledger.events import ModelAliased, StageSubmitted
from detour.ledger.journal import command_journal
from detour.ledger.workspace import Workspace
from detour.models import comparing
from detour.models.aliasing import moves, promote_version, roll_back
from detour.models.comparing import compare_versions, mean_scores
from detour.models.lineage import lineage
from detour.models.versions import Version, aliases_by_model, find_version, model_versions
from detour.statistics.scores import Score
from tests.cards.made_up import run_chain, stages
from tests.models.workspaces import planned, two_versions
from tests.reporting.fabricate import write_chain
from tests.support.invoking import invoke

Made = tuple[Workspace, str, str]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    workspace = Workspace(tmp_path_factory.mktemp("original"))
    return workspace, *two_versions(workspace)


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    workspace, *exports = original
    shutil.copytree(workspace.root, tmp_path / "workspace", symlinks=True)
    return Workspace(tmp_path / "workspace"), exports[0], exports[1]


def key(export: str) -> str:
    return export.removeprefix("export-")[:8]


def call(workspace: Workspace, *arguments: str) -> Result:
    return invoke(command, *arguments, "-w", workspace.root)


def test_every_export_under_a_name_is_a_version_of_it(made: Made) -> None:
    workspace, first, second = made
    versions = model_versions(workspace, "base")
    assert [(version.export, version.is_current) for version in versions] == [(first, False), (second, True)]
    scores = mean_scores(workspace, versions)
    assert [scores[version.name].mean for version in versions] == pytest.approx([57.0, 59.0])
    assert [scores[version.name].tasks for version in versions] == [5, 5]


def test_many_versions_cost_one_listing_of_links(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, first, second = made
    promote_version(workspace, f"base@{key(first)}", "production")
    promote_version(workspace, "base", "candidate")
    listed, glob = list[Path](), Path.glob

    def counted(path: Path, pattern: str) -> Iterator[Path]:
        listed.append(path)
        return glob(path, pattern)

    monkeypatch.setattr(Path, "glob", counted)
    found = {version.export: version.aliases for version in model_versions(workspace)}
    assert found == {first: ("production",), second: ("candidate",)}
    assert listed.count(workspace.root / "models") == 1


def test_a_version_is_found_by_name_alias_and_prefix_of_its_key(made: Made) -> None:
    workspace, first, second = made
    promote_version(workspace, f"base@{key(first)}", "production")
    found = [find_version(workspace, wanted).export for wanted in ("base", "base@production", f"base@{first[7:11]}")]
    assert found == [second, first, first]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("bass", "no model named 'bass'"),
        ("base@zz", "no such version or alias; base has"),
        ("base@", "no such version"),
    ],
)
def test_an_unknown_version_is_answered_with_the_known_ones(made: Made, wanted: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_version(made[0], wanted)


def test_an_alias_is_a_folder_that_transformers_can_load(made: Made) -> None:
    workspace, first, _ = made
    promote_version(workspace, f"base@{key(first)}", "production", "the paper's")
    link = workspace.root / "models" / "base@production"
    assert link.resolve() == workspace.output(first)
    assert json.loads((link / "config.json").read_text())["hidden_size"] == 128


def test_promotions_can_be_rolled_back_one_by_one(made: Made) -> None:
    workspace, first, second = made
    promote_version(workspace, f"base@{key(first)}", "production", "first")
    promote_version(workspace, "base", "production", "better on 5 of 5 tasks")
    assert aliases_by_model(workspace).get("base", {}) == {"production": second}
    assert roll_back(workspace, "base", "production", "slower than measured").after == first
    assert aliases_by_model(workspace).get("base", {}) == {"production": first}
    with pytest.raises(UserError, match="pointed to no version before"):
        roll_back(workspace, "base", "production")
    assert [move.why for move in moves(workspace, "base")] == [
        "first",
        "better on 5 of 5 tasks",
        "slower than measured",
    ]


def test_versions_can_be_compared_on_the_tasks_that_all_have(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of recipes with different benchmarks share some tasks."""
    workspace, _, second = made

    def scores(_: Workspace, version: Version, __: str | None = None) -> list[Score]:
        tasks = ("a", "b") if version.export == second else ("a",)
        return [Score(version.name, task, 1, 0.5) for task in tasks]

    monkeypatch.setattr(comparing, "version_scores", scores)
    assert compare_versions(workspace, ["base"]).pairs[0].average.mean is None
    assert compare_versions(workspace, ["base"], common=True).tasks == ("a",)


def test_promoting_a_version_again_leaves_the_one_before_to_roll_back_to(made: Made) -> None:
    workspace, first, second = made
    promote_version(workspace, f"base@{key(first)}", "production")
    for _ in range(2):
        promote_version(workspace, f"base@{key(second)}", "production")
    assert roll_back(workspace, "base", "production").after == first


def test_each_promotion_is_rolled_back_once_even_if_a_version_was_promoted_twice(made: Made) -> None:
    workspace, first, second = made
    for export in (first, second, first):
        promote_version(workspace, f"base@{key(export)}", "production")
    assert [roll_back(workspace, "base", "production").after for _ in range(2)] == [second, first]
    with pytest.raises(UserError, match="pointed to no version before"):
        roll_back(workspace, "base", "production")


def test_a_move_that_a_kill_prevented_is_not_rolled_back(made: Made) -> None:
    workspace, first, second = made
    promote_version(workspace, f"base@{key(first)}", "production")
    never_made = ModelAliased(
        model="base", alias="production", before=first, after=second, why=None, user="ana", rolled_back=False
    )
    with command_journal(workspace) as journal:
        journal.append(never_made)
    with pytest.raises(UserError, match="pointed to no version before"):
        roll_back(workspace, "base", "production")


def test_rolling_back_what_is_not_there_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="base has no alias 'production'"):
        roll_back(Workspace(tmp_path / "mistyped"), "base", "production")
    assert list(tmp_path.iterdir()) == []


def test_models_have_separate_aliases(made: Made) -> None:
    workspace, first, second = made
    promote_version(workspace, "base", "candidate")
    promote_version(workspace, f"base@{key(first)}", "production")
    assert aliases_by_model(workspace).get("base", {}) == {"candidate": second, "production": first}
    assert promote_version(workspace, "base@candidate", "production").before == first


def test_a_damaged_version_is_not_promoted(made: Made) -> None:
    workspace, _, second = made
    (workspace.output(second) / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"is not promoted: .*config.json"):
        promote_version(workspace, "base", "production")
    assert aliases_by_model(workspace).get("base", {}) == {}


@pytest.mark.parametrize("alias", ["Production", "a/b", "../x", "", "-x", "production\n"])
def test_an_invalid_alias_name_is_refused(made: Made, alias: str) -> None:
    with pytest.raises(UserError, match="is not an alias"):
        promote_version(made[0], "base", alias)


def test_a_link_that_leads_elsewhere_is_no_alias(made: Made) -> None:
    workspace = made[0]
    (workspace.root / "models").mkdir(exist_ok=True)
    (workspace.root / "models" / "base@mine").symlink_to("/etc")
    assert aliases_by_model(workspace).get("base", {}) == {}


MOVING = """
import sys
from pathlib import Path
from detour.ledger.workspace import Workspace
from detour.models.aliasing import promote_version

workspace = Workspace(Path(sys.argv[1]))
print("started", flush=True)
while True:
    for wanted in sys.argv[2:]:
        promote_version(workspace, wanted, "production")
"""


def test_an_alias_killed_at_any_instant_leads_to_the_old_or_the_new_version(made: Made) -> None:
    workspace, first, second = made
    promote_version(workspace, "base", "production")
    names = [f"base@{key(one)}" for one in (first, second)]
    draw, seen = random.Random(5), set()
    for _ in range(5):
        command_line = [sys.executable, "-c", MOVING, str(workspace.root), *names]
        moving = subprocess.Popen(command_line, stdout=subprocess.PIPE)
        assert moving.stdout is not None
        moving.stdout.readline()
        time.sleep(draw.uniform(0, 0.3))
        moving.send_signal(signal.SIGKILL)
        moving.wait()
        moving.stdout.close()
        seen.add(aliases_by_model(workspace).get("base", {})["production"])
        assert (workspace.root / "models" / "base@production" / "config.json").is_file()
    assert seen <= {first, second}
    now = aliases_by_model(workspace).get("base", {})["production"]
    other = first if now == second else second
    assert promote_version(workspace, f"base@{key(other)}", "production").before == now
    assert roll_back(workspace, "base", "production").after == now
    assert os.readlink(workspace.root / "models" / "base@production") == f"../stages/{now}/output"  # noqa: PTH115


def test_the_lineage_leads_back_to_data_recipe_code_and_jobs(made: Made) -> None:
    workspace, _, second = made
    steps = lineage(workspace, second)
    assert [step.label for step in steps] == [
        "prepare",
        "pretrain one",
        "promote one",
        "pretrain two",
        "promote two",
        "export",
    ]
    assert [(one.name, bool(one.fingerprint)) for one in steps[0].data] == [("labels.csv", True)]
    assert steps[1].settings["phase"]["objective"] == "causal"
    assert (steps[1].jobs, steps[1].attempts, steps[1].code) == (("77",), 1, "0123456789abcdef0123")
    assert steps[-1].inputs["checkpoint"] == steps[-2].stage
    assert all(step.sha256 for step in steps)


def test_the_jobs_of_a_lineage_are_in_the_order_of_their_numbers(made: Made) -> None:
    workspace, _, second = made
    with command_journal(workspace) as journal:
        for job in ("1000", "998_10", "998_2"):
            journal.append(StageSubmitted(), stage=second, job=job)
    assert lineage(workspace, second)[-1].jobs == ("77", "998_2", "998_10", "1000")


@pytest.mark.parametrize(
    "provenance",
    [None, [], {"code": "x", "machine": 5}, {"code": {"snapshot": 5, "version": []}, "machine": {"node": {}}}],
)
def test_malformed_provenance_is_a_gap_in_the_lineage(provenance: object, made: Made) -> None:
    workspace, _, second = made
    manifest = json.loads(workspace.manifest(second).read_bytes())
    workspace.manifest(second).write_text(json.dumps(manifest | {"provenance": provenance, "sha256": 5}))
    step = lineage(workspace, second)[-1]
    assert (step.sha256, step.code, step.machine) == (None, None, None)


def test_an_overridden_gate_is_part_of_the_lineage(made: Made) -> None:
    workspace, _, second = made
    promotion = lineage(workspace, second)[2]
    accept_gate(workspace.stage(promotion.stage), "validation_loss", "a known plateau", "someone")
    assert lineage(workspace, second)[2].overridden == {"validation_loss": "a known plateau"}


def test_versions_are_compared_by_their_own_scores(made: Made) -> None:
    workspace, first, second = made
    (pair,) = compare_versions(workspace, ["base"]).pairs
    assert (pair.first, pair.second) == (f"base@{key(first)}", f"base@{key(second)}")
    assert pair.average.mean == pytest.approx(-2.0)
    with pytest.raises(UserError, match="a single version cannot be compared"):
        compare_versions(workspace, ["base@" + key(first)])


def test_a_version_has_the_scores_of_evaluations_that_were_planned_later(tmp_path: Path) -> None:
    """The chain was planned without its benchmark, with it, and again without it: its export is the same version."""
    workspace = run_chain(Workspace(tmp_path), "base")
    of_chain = stages()
    trained = [stage for stage in of_chain if stage.kind not in ("evaluate", "summarize")]
    for found in (trained, of_chain, trained):
        planned(workspace, "base", found)
    write_chain(workspace, "base", trained)
    (version,) = model_versions(workspace)
    average = mean_scores(workspace, [version])[version.name]
    assert average.mean == pytest.approx(59.0)
    assert average.tasks == 5


def test_the_command_lists_promotes_and_shows(made: Made) -> None:
    workspace, first, second = made
    promote = ("promote", "base", "--to", "candidate")
    assert call(workspace, *promote).output == f"base@candidate points to {key(second)}\n"
    assert call(workspace, *promote).output == f"base@candidate points to {key(second)}, as before\n"
    moved = call(workspace, "promote", "base@" + key(first), "--to", "candidate").output
    assert moved == f"base@candidate points to {key(first)}, before to {key(second)}\n"
    call(workspace, *promote)
    listed = call(workspace).output.splitlines()
    assert [line.split()[0] for line in listed] == ["version", f"base@{key(first)}", f"base@{key(second)}"]
    assert listed[2].endswith("59.0     5      candidate, the recipe's")
    shown = call(workspace, "show", "base@candidate").output
    assert "causal, 8,000 tokens" in shown
    before = invoke(command, "-w", workspace.root, "show", "base@candidate")
    assert before.output == shown
    found = json.loads(call(workspace, "show", "base", "--json").output)
    assert found["export"] == second
    assert len(found["lineage"]) == 6
    assert "base is better" not in call(workspace, "compare", "base").output
