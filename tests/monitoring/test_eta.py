"""When a chain ends: its longest remaining path."""

from __future__ import annotations

from typing import Any

from detour.monitoring.eta import Outlook, outlook
from detour.monitoring.status import StageRow
from tests.monitoring.made_rows import make_row

NOW_S = 1000.0


def row(name: str, *inputs: str, left_s: float | None, **more: Any) -> StageRow:
    return make_row(id=name, inputs=inputs, left_s=left_s, status=more.pop("status", "submitted"), **more)


def test_the_end_is_that_of_the_longest_path() -> None:
    rows = [
        row("prepare", left_s=0.0, status="done"),
        row("train", "prepare", left_s=100.0, status="running"),
        row("short", "train", left_s=5.0),
        row("long", "train", left_s=50.0),
        row("end", "short", "long", left_s=1.0),
    ]
    assert outlook(rows, NOW_S) == Outlook(1151.0, 0, ("train", "long", "end"))


def test_the_wait_estimated_by_slurm_is_included() -> None:
    rows = [row("train", left_s=100.0, starts_s=2000.0), row("end", "train", left_s=1.0, starts_s=1500.0)]
    assert outlook(rows, NOW_S).ends_s == 2101.0


def test_stages_of_unknown_duration_are_counted_and_the_end_is_the_earliest() -> None:
    rows = [row("train", left_s=100.0), row("end", "train", left_s=None)]
    assert outlook(rows, NOW_S) == Outlook(1100.0, 1, ("train", "end"))
    assert outlook([row("end", left_s=None)], NOW_S) == Outlook(None, 1, ("end",))


def test_done_stages_add_no_time() -> None:
    assert outlook([row("end", left_s=0.0, status="done")], NOW_S) == Outlook(None, 0, ())


def test_stages_that_will_not_run_add_no_time() -> None:
    rows = [
        row("prepare", left_s=10.0),
        row("train", "prepare", left_s=100.0, status="cancelled"),
        row("promote", "train", left_s=100.0, status="submitted"),
        row("other", "prepare", left_s=20.0),
        row("score", "other", left_s=100.0, status="failed"),
    ]
    assert outlook(rows, NOW_S) == Outlook(1030.0, 0, ("prepare", "other"))
