"""Every attempt was paid for, and what became of it sums to what was paid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.hours import (
    HOUR_S,
    AttemptUsage,
    Fates,
    Known,
    cpu_hours,
    distinct,
    fates_s,
    gpu_hours,
)


def usage(start_h: float, end_h: float, attempt: str = "1", **more: object) -> AttemptUsage:
    base = AttemptUsage(attempt, "pretrain-a", start_h * HOUR_S, end_h * HOUR_S, gpus=4, cpus=96)
    return base._replace(**more)  # type: ignore[arg-type]


def test_three_attempts_of_one_job_are_60_gpu_hours_and_not_the_24_of_the_latest() -> None:
    attempts = [usage(0, 4, "1"), usage(5, 10, "2"), usage(12, 18, "3")]
    assert sum(gpu_hours(attempt) or 0 for attempt in attempts) == 60.0
    assert gpu_hours(attempts[-1]) == 24.0
    assert cpu_hours(attempts[-1]) == 576.0


def test_rows_that_repeat_one_attempt_count_once() -> None:
    rows = [usage(0, 4)] * 4
    assert len(distinct(rows)) == 1
    better = rows[0]._replace(end_s=5 * HOUR_S)
    assert distinct([*rows, better]) == [better]


def test_unknown_counts_are_unknown_hours_and_not_0() -> None:
    assert gpu_hours(usage(0, 1, gpus=None)) is None
    assert gpu_hours(usage(0, 1, gpus=0)) == 0.0
    assert Known.sum([1.0, None, 2.0]) == Known(3.0, 1)
    assert Known.sum([None]) == Known(None, 1)
    assert Known.sum([]) == Known(0.0, 0)


def test_a_finished_attempt_is_start_up_and_useful_work() -> None:
    fates = fates_s(usage(0, 10, ready_s=HOUR_S, saved_s=10 * HOUR_S)) * (1 / HOUR_S)
    assert fates == Fates(useful=9.0, startup=1.0)


def test_a_killed_attempt_loses_what_came_after_its_last_checkpoint() -> None:
    killed = usage(0, 10, ready_s=HOUR_S, saved_s=7 * HOUR_S, worked_until_s=9 * HOUR_S)
    assert fates_s(killed) * (1 / HOUR_S) == Fates(useful=6.0, startup=1.0, redone=2.0, idle=1.0)
    assert fates_s(killed._replace(failed=True)).failed == 2 * HOUR_S
    assert fates_s(killed._replace(saved_s=None)).redone == 8 * HOUR_S


def test_an_attempt_that_never_began_to_work_is_start_up_or_failure() -> None:
    assert fates_s(usage(0, 2)) == Fates(startup=2 * HOUR_S)
    assert fates_s(usage(0, 2, failed=True)) == Fates(failed=2 * HOUR_S)


def test_unsaved_work_of_a_running_attempt_is_not_lost_yet() -> None:
    assert fates_s(usage(0, 3, ready_s=HOUR_S, running=True)) == Fates(useful=2 * HOUR_S, startup=HOUR_S)


instants = st.floats(0.0, 1e9, allow_nan=False)
maybe = st.none() | instants


@given(instants, instants, maybe, maybe, maybe, st.booleans(), st.booleans())
def test_fates_sum_to_the_allocated_time_whatever_the_records_say(
    start_s: float,
    end_s: float,
    ready_s: float | None,
    saved_s: float | None,
    worked_until_s: float | None,
    failed: bool,
    running: bool,
) -> None:
    attempt = AttemptUsage("1", None, start_s, end_s, 4, 96, 1, None, ready_s, saved_s, worked_until_s, failed, running)
    fates = fates_s(attempt)
    parts = (fates.useful, fates.startup, fates.redone, fates.failed, fates.idle)
    assert all(part >= 0 for part in parts)
    assert fates.allocated == pytest.approx(attempt.allocated_s, rel=1e-9, abs=1e-6)


def test_fates_add_up_over_attempts() -> None:
    first, second = Fates(useful=1.0, redone=2.0), Fates(useful=3.0, idle=4.0)
    assert Fates.sum([first, second]) == Fates(useful=4.0, redone=2.0, idle=4.0)
    assert Fates.sum([]) == Fates()
