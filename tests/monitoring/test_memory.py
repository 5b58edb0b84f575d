"""Another look costs only what is new, and sees every change."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest

from detour.ledger.workspace import Workspace
from detour.monitoring import memory
from detour.monitoring.monitor import Monitor
from detour.planning.outlines import Outlines
from tests.monitoring.workspaces import PREPARE, PROMOTE, TRAIN, end, make_workspace, mark_done, start

NOW_S = 2e9


@pytest.fixture
def workspace(tmp_path: Path, node_folder: Path) -> Workspace:  # noqa: ARG001
    """Two chains that share their corpus; only the second has its training."""
    made = make_workspace(tmp_path, stages=(PREPARE, PROMOTE))
    made.chain("twin").mkdir()
    stages = [PREPARE.to_json(), TRAIN.to_json()]
    (made.chain("twin") / "plan.json").write_text(json.dumps({"chain": "twin", "stages": stages}))
    return made


def test_an_unchanged_chain_is_the_same_object(workspace: Workspace) -> None:
    monitor = Monitor(workspace)
    before = monitor.look(now_s=NOW_S).chains
    end(start(workspace, TRAIN))
    after = monitor.look(now_s=NOW_S + 1).chains
    assert after[0] is before[0]
    assert after[1].stages[1].attempts == 1


def test_news_of_a_shared_stage_appears_in_all_its_chains(workspace: Workspace) -> None:
    monitor = Monitor(workspace)
    monitor.look(now_s=NOW_S)
    end(start(workspace, PREPARE))
    mark_done(workspace, PREPARE)
    assert [chain.stages[0].status for chain in monitor.look(now_s=NOW_S + 1).chains] == ["done", "done"]


def test_a_marker_without_an_event_is_seen_in_the_next_full_pass(workspace: Workspace) -> None:
    monitor = Monitor(workspace)
    monitor.look(now_s=NOW_S)
    mark_done(workspace, PREPARE)
    assert monitor.look(now_s=NOW_S + memory.FULL_S).chains[0].stages[0].status == "done"


def test_a_changed_plan_is_seen_at_once(workspace: Workspace) -> None:
    monitor = Monitor(workspace)
    assert len(monitor.look(now_s=NOW_S).chains) == 2
    path = workspace.chain("base") / "plan.json"
    path.write_text(json.dumps({"chain": "base", "stages": [TRAIN.to_json()]}))
    (workspace.chain("twin") / "plan.json").unlink()
    (chain,) = monitor.look(now_s=NOW_S + 1).chains
    assert [row.id for row in chain.stages] == [TRAIN.id]


def test_plans_are_read_once_and_their_outlines_cached_for_the_next_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detour.planning.outlines.WORTH_KEEPING", 1)
    first = Outlines(workspace)
    known = first.known()
    assert first.known() is known
    with patch("detour.planning.outlines.read_plan_outline", side_effect=AssertionError):
        assert Outlines(workspace).known() == known
    (workspace.chain("base") / "plan.json").write_text("{}")
    assert list(Outlines(workspace).known().chains) == ["twin"]
    assert "not a plan" in Outlines(workspace).known().unreadable[0]
