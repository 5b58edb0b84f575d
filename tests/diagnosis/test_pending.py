"""Both waits of a pending job, and the link that blocks it."""

from __future__ import annotations

import pytest

from detour.diagnosis.evidence import SlurmRow
from detour.diagnosis.pending import Link, Waits, blocking_links, waits


def row(job: str, reason: str, dependency: str = "", state: str = "PENDING") -> SlurmRow:
    return SlurmRow({"JobID": job, "State": state, "Reason": reason, "Dependency": dependency})


@pytest.mark.parametrize(
    ("submitted_s", "eligible_s", "expected"),
    [
        (100.0, 160.0, Waits(60.0, 40.0)),
        (100.0, None, Waits(100.0, None)),
        (100.0, 500.0, Waits(100.0, None)),
        (None, 160.0, Waits(None, None)),
    ],
)
def test_waiting_is_split_where_the_job_became_eligible(
    submitted_s: float | None, eligible_s: float | None, expected: Waits
) -> None:
    assert waits(submitted_s, eligible_s, now_s=200.0) == expected


def test_the_first_job_on_the_way_that_waits_for_no_other_blocks() -> None:
    last = row("14_[0-2]", "Dependency", "afterok:12(unfulfilled)?afterok:13(unfulfilled)")
    queue = [
        last,
        row("12", "Dependency", "afterok:9_1(unfulfilled),afternotok:10(unfulfilled)"),
        row("9_[0-3]", "QOSMaxGRESPerUser"),
    ]
    assert [link.job for link in blocking_links(last, queue)] == ["14_[0-2]", "12", "9_[0-3]"]


def test_a_parent_that_has_left_the_queue_ends_the_way() -> None:
    alone = row("12", "Dependency", "afterok:9(unfulfilled)")
    assert blocking_links(alone, [alone]) == (Link("12", "PENDING", "Dependency"),)


def test_jobs_that_wait_for_each_other_are_each_named_once() -> None:
    one, other = row("1", "Dependency", "afterok:2(unfulfilled)"), row("2", "Dependency", "afterok:1(unfulfilled)")
    assert [link.job for link in blocking_links(one, [one, other])] == ["1", "2"]
