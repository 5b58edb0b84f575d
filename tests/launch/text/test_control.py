"""The text about an order for jobs: what it reached, and what it left to other users."""

from __future__ import annotations

import json

import pytest

from detour.launch.text.control import controlled_json, controlled_lines, show_controlled
from detour.orchestration.control import Controlled
from detour.scheduler.control import Affected
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.tags import Tag

LABELS = {"prepare-0": "prepare", "pretrain-1": "pretrain clm"}
THEIRS = Sent(Tag("w", "prepare-0", 1, "s"), (("prepare-0",),), job_id="7", committed=True, owner="alice")


def test_jobs_of_others_are_reported_as_left_alone() -> None:
    reached = Controlled("cancelled", Affected(("9",), ("pretrain-1",), (THEIRS,)), LABELS)
    assert list(controlled_lines(reached)) == [
        "cancelled: pretrain clm",
        "jobs: 9",
        "not cancelled: job 7 of alice (prepare)",
    ]


def test_if_all_jobs_belong_to_others_nothing_was_reached() -> None:
    reached = Controlled("cancelled", Affected((), (), (THEIRS,)), LABELS)
    assert next(controlled_lines(reached)) == "nothing cancelled: the queue has no such job of yours"


def test_the_json_holds_the_jobs_of_others_too() -> None:
    reached = Controlled("held", Affected((), (), (THEIRS,)), LABELS)
    assert controlled_json(reached)["others"] == [{"job": "7", "user": "alice", "stages": ["prepare-0"]}]


def test_unreadable_parts_of_the_ledger_are_a_warning_next_to_the_result(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reached = Controlled("held", Affected((), ()), LABELS, warnings=("1 event in the ledger was left out",))
    show_controlled(reached, as_json=True)
    shown = capsys.readouterr()
    assert shown.err == "warning: 1 event in the ledger was left out\n"
    assert json.loads(shown.out)["held"] == {"jobs": [], "stages": []}
