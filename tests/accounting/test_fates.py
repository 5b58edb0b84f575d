"""Fates of an attempt, which add up to its allocated time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.fates import Fates, fates_s
from detour.accounting.hours import HOUR_S, AttemptUsage
from tests.accounting.samples import usage_between


def test_a_finished_attempt_is_start_up_and_useful_work() -> None:
    fates = fates_s(usage_between(0, 10, ready_s=HOUR_S, saved_s=10 * HOUR_S)).times(1 / HOUR_S)
    assert fates == Fates(useful=9.0, startup=1.0)


def test_a_killed_attempt_loses_the_work_since_its_last_checkpoint() -> None:
    killed = usage_between(0, 10, ready_s=HOUR_S, saved_s=7 * HOUR_S, worked_until_s=9 * HOUR_S)
    assert fates_s(killed).times(1 / HOUR_S) == Fates(useful=6.0, startup=1.0, redone=2.0, idle=1.0)
    assert fates_s(killed._replace(failed=True)).failed == 2 * HOUR_S
    assert fates_s(killed._replace(saved_s=None)).redone == 8 * HOUR_S


def test_an_attempt_that_never_began_to_work_is_start_up_or_failure() -> None:
    assert fates_s(usage_between(0, 2)) == Fates(startup=2 * HOUR_S)
    assert fates_s(usage_between(0, 2, failed=True)) == Fates(failed=2 * HOUR_S)


def test_unsaved_work_of_a_running_attempt_is_not_lost_yet() -> None:
    assert fates_s(usage_between(0, 3, ready_s=HOUR_S, running=True)) == Fates(useful=2 * HOUR_S, startup=HOUR_S)


instants = st.floats(0.0, 1e9, allow_nan=False)
maybe = st.none() | instants


@given(instants, instants, maybe, maybe, maybe, maybe, st.booleans(), st.booleans())
def test_fates_sum_to_the_allocated_time_for_any_records(
    start_s: float,
    end_s: float,
    worked_from_s: float | None,
    ready_s: float | None,
    saved_s: float | None,
    worked_until_s: float | None,
    failed: bool,
    running: bool,
) -> None:
    attempt = AttemptUsage("1", None, start_s, end_s, 4, 96, 1, None, ready_s, saved_s, worked_until_s, failed, running)
    attempt = attempt._replace(worked_from_s=worked_from_s)
    fates = fates_s(attempt)
    parts = (fates.useful, fates.startup, fates.redone, fates.failed, fates.idle)
    assert all(part >= 0 for part in parts)
    assert fates.allocated == pytest.approx(attempt.allocated_s, rel=1e-9, abs=1e-6)


def test_fates_add_up_over_attempts() -> None:
    first, second = Fates(useful=1.0, redone=2.0), Fates(useful=3.0, idle=4.0)
    assert Fates.sum([first, second]) == Fates(useful=4.0, redone=2.0, idle=4.0)
    assert Fates.sum([]) == Fates()
