"""When there is nothing left to wait for."""

from __future__ import annotations

import pytest

from detour.monitoring.waiting import Verdict, verdict
from tests.monitoring.made_rows import make_chain, make_row


@pytest.mark.parametrize(
    ("statuses", "expected", "fast"),
    [
        (["done", "done"], "done", "done"),
        (["done", "running"], "going on", "going on"),
        (["failed", "running"], "going on", "stopped"),
        (["failed", "planned"], "stopped", "stopped"),
        (["interrupted", "done"], "stopped", "stopped"),
        (["unknown", "planned"], "going on", "going on"),
        (["submitted", "cancelled"], "going on", "going on"),
    ],
)
def test_the_verdict_follows_from_the_stages(statuses: list[str], expected: Verdict, fast: Verdict) -> None:
    rows = [make_row(id=str(number), status=status) for number, status in enumerate(statuses)]
    assert verdict([make_chain("base", rows)]) == expected
    assert verdict([make_chain("base", rows)], fail_fast=True) == fast


def test_if_one_of_several_chains_continues_it_is_waited_for() -> None:
    ended, works = (make_chain(status, [make_row(status=status)]) for status in ("failed", "running"))
    assert verdict([ended, works]) == "going on"
    assert verdict([ended]) == "stopped"
