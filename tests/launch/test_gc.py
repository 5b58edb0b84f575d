"""`detour gc`, `detour pin` and `detour unpin` as a user calls them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from detour.housekeeping.finding import Kind, Removable
from detour.housekeeping.measuring import Extent
from detour.launch.text.gc import removable_lines
from detour.launch.verbs import detour
from detour.ledger.workspace import Workspace
from tests.housekeeping.workspaces import make_workspace

INPUTS: dict[str, Sequence[str]] = {"prepare-1": (), "pretrain-1": ("prepare-1",), "pretrain-old": ("prepare-1",)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, INPUTS, {"base": ("prepare-1", "pretrain-1")})


def called(workspace: Workspace, *arguments: str) -> Result:
    return CliRunner().invoke(detour, [*arguments, "-w", str(workspace.root)])


def test_a_dry_run_shows_bytes_and_inodes_and_removes_nothing(workspace: Workspace) -> None:
    shown = called(workspace, "gc", "--dry-run").output
    words = shown.splitlines()[1].split()
    assert [*words[:5], words[-1]] == ["stage", "in", "no", "plan", "1", "5"]
    assert "stages/pretrain-old" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert workspace.is_done("pretrain-old")


def test_the_kinds_of_what_is_removable_are_written_out_in_80_columns() -> None:
    root = Path("/w")
    found = [Removable(kind, root / "stages" / kind.name, Extent(4096, 12_345, None)) for kind in Kind]
    shown = list(removable_lines(root, found, 80, everything=False))
    assert [kind for kind in Kind if not any(line.startswith(f"  {kind} ") for line in shown)] == []
    assert max(map(len, shown)) <= 80


def test_without_a_terminal_gc_only_removes_with_yes(workspace: Workspace) -> None:
    refused = called(workspace, "gc")
    assert "add --yes" in str(refused.exception)
    assert workspace.is_done("pretrain-old")
    removed = called(workspace, "gc", "--yes")
    assert re.fullmatch(r"Removed 1 item: [0-9.]+ kB and 5 inodes\.", removed.output.splitlines()[-1])
    assert not workspace.stage("pretrain-old").exists()


def test_json_lists_each_item_and_removes_nothing_without_yes(workspace: Workspace) -> None:
    data = json.loads(called(workspace, "gc", "--dry-run", "--json").output)
    (item,) = data["removable"]
    assert (item["kind"], item["stage"], item["inodes"], item["removed"]) == ("stage", "pretrain-old", 5, False)
    assert (data["bytes"], data["inodes"]) == (item["bytes"], 5)
    removed = json.loads(called(workspace, "gc", "--yes", "--json").output)
    assert [one["removed"] for one in removed["removable"]] == [True]


def test_an_empty_removal_is_reported(workspace: Workspace) -> None:
    called(workspace, "gc", "--yes")
    assert called(workspace, "gc").output == f"Nothing can be removed from {workspace.root}.\n"


def test_a_pin_keeps_a_stage_until_it_is_removed(workspace: Workspace) -> None:
    assert called(workspace, "pin", "base", "--why", "the paper").output.startswith("2 stages pinned")
    (workspace.chain("base") / "plan.json").unlink()
    assert "pretrain-1" not in called(workspace, "gc", "--dry-run").output
    assert called(workspace, "unpin", "pretrain-1").output == "1 pin removed; 1 pin in this workspace.\n"
    assert "pretrain-1" in called(workspace, "gc", "--dry-run").output


def test_pinning_an_unknown_name_suggests_the_nearest(workspace: Workspace) -> None:
    assert "base" in str(called(workspace, "pin", "bsae").exception)
