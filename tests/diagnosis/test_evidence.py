"""Bundles as people and other versions may write them."""

from __future__ import annotations

from typing import Any

import pytest

from detour.diagnosis.evidence import memory_bytes, read_bundle
from detour.diagnosis.judge import judge
from detour.errors import UserError


def test_what_is_missing_is_unreadable_and_not_empty() -> None:
    evidence = read_bundle({"sacct": None, "log_tail": [], "events": []}, "bundle")
    assert evidence.sacct is None
    assert evidence.log == ()
    assert evidence.unreadable == {"sacct": "not in the bundle"}


def test_an_unreadable_source_keeps_its_reason() -> None:
    content = {"sacct": {"unreadable": "slurmdbd: Connection refused"}, "log_tail": ["x"], "events": []}
    verdict = judge(read_bundle(content, "bundle"))
    assert verdict.cause == "unknown"
    assert verdict.to_json()["unreadable"] == {"sacct": "slurmdbd: Connection refused"}


def test_a_log_may_be_a_text_or_two_streams_of_which_errors_come_last() -> None:
    assert read_bundle({"log_tail": "a\nb\n"}, "bundle").log == ("a", "b")
    assert read_bundle({"log_tail": {"stderr": ["b"], "stdout": ["a"]}}, "bundle").log == ("a", "b")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "not a bundle"),
        ({"nothing": 1}, "not a bundle"),
        ({"sacct": "COMPLETED"}, "sacct: expected a list"),
        ({"sacct": ["COMPLETED"]}, "sacct: expected an object"),
        ({"log_tail": 3}, "log_tail: expected a list of lines"),
        ({"events": [{"wall_s": 1}]}, "events: expected objects with kind"),
    ],
)
def test_what_is_no_bundle_is_refused_with_the_key(content: Any, says: str) -> None:
    with pytest.raises(UserError, match=f"ticket.json: {says}"):
        read_bundle(content, "ticket.json")


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("200G", 200 * 2**30),
        ("4000Mn", 4000 * 2**20),
        ("9120K", 9120 * 1024),
        ("4000Mc", None),
        ("", None),
        ("?", None),
    ],
)
def test_amounts_of_memory_are_read_as_slurm_writes_them(text: str, held: int | None) -> None:
    assert memory_bytes(text) == held


@pytest.mark.parametrize("wall_s", [1e308, -1.0, float("nan"), 10**400, "soon"])
def test_an_event_at_an_impossible_time_is_one_at_an_unknown_time(wall_s: object) -> None:
    bundle = {"events": [{"kind": "attempt.started", "wall_s": wall_s, "attempt": 1, "data": {}}]}
    (event,) = read_bundle(bundle, "bundle.json").events or ()
    assert (event.kind, event.wall_s, event.attempt) == ("attempt.started", None, 1)


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 400 + "G", "1024P"])
def test_more_memory_than_any_job_has_is_no_amount(text: str) -> None:
    assert memory_bytes(text) is None
