"""Lost time by cause, and the checkpoint interval that would have cost least."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.accounting.hours import AttemptUsage
from detour.reporting.costs import Counted, counted
from detour.reporting.waste import CAUSES, cause_of, daly_s, interval, useful_share, waste_by_cause, young_s


def attempt(
    hours: float, outcome: str, reason: str | None = None, ready_s: float | None = None, saved_s: float | None = None
) -> Counted:
    """Return an attempt; its times are in hours."""
    ready_s, saved_s = (None if at is None else at * 3600 for at in (ready_s, saved_s))
    usage = AttemptUsage(
        "a", "s", 0.0, hours * 3600, 4, 96, ready_s=ready_s, saved_s=saved_s, failed=outcome == "failed"
    )
    return counted(usage, lambda _: [], cluster="here", outcome=outcome, reason=reason)


def test_youngs_interval_is_right_for_a_failure_a_day_and_a_checkpoint_of_two_seconds() -> None:
    assert young_s(2.0, 1 / 86_400) == pytest.approx(sqrt(2 * 2 * 86_400))
    assert young_s(2.0, 1 / 86_400) == pytest.approx(587.88, abs=0.01)


@given(st.floats(0.1, 100.0), st.floats(1e4, 1e7))
def test_dalys_interval_is_youngs_less_the_checkpoint_if_that_is_short(save_s: float, between_s: float) -> None:
    young = young_s(save_s, 1 / between_s)
    assert daly_s(save_s, 1 / between_s) == pytest.approx(
        young - save_s + young * sqrt(save_s / 18 / between_s), rel=1e-2
    )


def test_dalys_interval_is_the_time_between_interruptions_if_a_checkpoint_takes_twice_that() -> None:
    assert daly_s(200.0, 1 / 100.0) == 100.0


def test_four_hours_preempted_every_two_have_the_published_shares() -> None:
    # S 90 s, C 1.8 s, four hours of work; checkpoints every 10 minutes
    rate = 1 / 7200
    assert useful_share(600, 1.8, 90, 14_400, 0.0, rate) == pytest.approx(0.978, abs=0.001)
    assert useful_share(600, 1.8, 90, 14_400, rate, 0.0) == pytest.approx(0.941, abs=0.001)


@given(st.floats(1.0, 60.0), st.floats(1e4, 1e6), st.floats(0.2, 5.0))
def test_no_interval_is_expected_to_be_better_than_youngs(save_s: float, between_s: float, factor: float) -> None:
    best = young_s(save_s, 1 / between_s)
    here, other = (useful_share(at, save_s, 60.0, 1e6, 1 / between_s, 0.0) for at in (best, best * factor))
    assert here >= other - 1e-12


@pytest.mark.parametrize(
    ("outcome", "reason", "cause"),
    [
        ("done", None, "done"),
        ("interrupted", "wall-time limit: saved at step 7 of 9", "time limit"),
        ("interrupted", "signal SIGUSR2: saved at step 7 of 9", "time limit"),
        ("interrupted", "stopped (signal SIGUSR2); what was tokenised is kept", "time limit"),
        ("interrupted", "signal SIGTERM: saved at step 7 of 9", "signal"),
        ("interrupted", None, "interrupted"),
        ("failed", "out of memory", "failed"),
        ("lost", None, "lost"),
        ("cancelled", None, "failed"),
    ],
)
def test_the_cause_follows_the_end_of_an_attempt_and_its_message(outcome: str, reason: str | None, cause: str) -> None:
    assert cause_of(outcome, reason) == cause
    assert cause in CAUSES


def test_each_cause_costs_everything_but_the_useful_part() -> None:
    attempts = [
        attempt(2.0, "lost", ready_s=0.1, saved_s=1.5),
        attempt(1.0, "done", ready_s=0.1, saved_s=1.0),
        attempt(0.5, "failed"),
    ]
    rows = {row.cause: row.lost_gpu_hours for row in waste_by_cause(attempts)}
    assert [row.allocated for row in rows.values()] == pytest.approx([0.4, 2.0, 2.4])
    assert sum(row.allocated for row in rows.values()) == pytest.approx(
        sum(4 * (one.fates.allocated - one.fates.useful) / 3600 for one in attempts)
    )


def test_an_interval_is_advised_only_after_an_interruption_without_warning() -> None:
    saves = [[(0.0, 1.8), (600.0, 2.0), (1200.0, 2.2)]]
    warned = attempt(2.0, "interrupted", "wall-time limit: saved", ready_s=0.1, saved_s=2.0)
    calm = interval("pretrain", "here", [warned], saves)
    assert (calm.interruptions, calm.warned, calm.interval_s, calm.save_s) == (0, 1, 600.0, 2.0)
    assert calm.young_s is None
    assert calm.useful_share is not None
    struck = interval("pretrain", "here", [warned, attempt(1.0, "lost", ready_s=0.1, saved_s=0.5)], saves)
    assert struck.young_s == pytest.approx(young_s(2.0, 1 / (2.8 * 3600)))
    assert struck.best_useful_share is not None
    assert struck.useful_share is not None
    assert struck.best_useful_share > struck.useful_share


def test_without_measured_checkpoints_nothing_is_advised() -> None:
    row = interval("pretrain", "here", [attempt(1.0, "lost", ready_s=0.1, saved_s=0.5)], [[(0.0, None)]])
    assert (row.save_s, row.interval_s, row.young_s, row.useful_share) == (None, None, None, None)
