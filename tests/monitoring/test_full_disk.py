"""A job that waits for space on a full disk is alive by its claim; status and why report the same about it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from detour.ledger.claims import claim
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.full_disk import SILENT_S, awaited_room
from detour.monitoring.monitor import Monitor
from detour.monitoring.status import StageRow
from tests.monitoring.workspaces import PREPARE, make_workspace, start
from tests.support.small_disk import SmallDisk

WAITED_S = 60.0
STEP = "free some space: it then continues"


def prepare_row(workspace: Workspace, now_s: float) -> StageRow:
    return Monitor(workspace).look(now_s=now_s).chains[0].stages[0]


def make_silent(workspace: Workspace) -> float:
    """Return a time at which the attempt has been silent for long, and has just refreshed its claim."""
    start(workspace, PREPARE)
    claim(workspace, PREPARE.id, "job 7")
    now_s = time.time() + WAITED_S
    path = workspace.claims / f"{PREPARE.id}.json"
    os.utime(path, (now_s, now_s))
    return now_s


def test_on_a_full_disk_jobs_wait_for_space_and_status_and_log_say_so(disk: SmallDisk) -> None:
    workspace = make_workspace(disk.folder)
    now_s = make_silent(workspace)
    disk.leave(0)
    row = prepare_row(workspace, now_s)
    assert (row.state, row.needs_person) == ("running", True)
    assert row.reason == "the disk is full, and it has waited for room for 1m00s"
    known = LedgerView(workspace).state.stages[PREPARE.id]
    assert (row.next_step or "").startswith(STEP)
    assert awaited_room(workspace, known, now_s) == f"{row.reason}; {row.next_step}"


def test_on_a_disk_with_space_the_quota_may_be_used_up(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    row = prepare_row(workspace, make_silent(workspace))
    assert (row.state, row.reason) == (
        "running",
        "it is alive, and its journal has taken nothing for 1m00s: a quota may be used up",
    )


def test_a_claim_that_is_not_refreshed_is_no_sign_of_life(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    later_s = make_silent(workspace) + SILENT_S + 1
    assert prepare_row(workspace, later_s).state == "lost contact"


def test_a_node_whose_clock_is_behind_is_not_taken_to_wait_for_space(tmp_path: Path) -> None:
    """On a network file system, the file server's clock stamps claim and journal, and the node's its records."""
    workspace = make_workspace(tmp_path)
    now_s = make_silent(workspace)
    [journal] = workspace.ledger.glob(f"*/{PREPARE.id}.*.jsonl")
    os.utime(journal, (now_s - 5, now_s - 5))
    known = LedgerView(workspace).state.stages[PREPARE.id]
    assert awaited_room(workspace, known, now_s) is None
