"""Waits from rows of sacct."""

from __future__ import annotations

from detour.forecasting.waits import HOUR_S, Observation, Shape, Wait, observed, shape_of, waits_of
from detour.sacct.rows import JobRow

WAIT = Wait("7", "abc", Shape(4, 3), begun_s=100.0, started_s=400.0)


def row(**fields: object) -> JobRow:
    started = {"job_id": 7, "shown_id": "7", "account": "abc", "submit_s": 100.0, "start_s": 400.0, "end_s": 900.0}
    return JobRow(**{**started, "n_gpus": 4, "limit_s": 20 * HOUR_S, **fields})  # type: ignore[arg-type]


def test_a_wait_lasts_from_submission_to_start() -> None:
    assert waits_of([row()]) == [WAIT]


def test_a_wait_begins_when_dependencies_and_holds_have_ended() -> None:
    (wait,) = waits_of([row(eligible_s=300.0)])
    assert wait.begun_s == 300.0


def test_a_job_cancelled_before_its_start_counts_until_then() -> None:
    (wait,) = waits_of([row(state="CANCELLED", start_s=None)])
    assert (wait.started_s, wait.left_s) == (None, 900.0)
    assert observed(wait, 899.0) == Observation(799.0, ended=False)
    assert observed(wait, 900.0) is None


def test_a_pending_job_has_waited_at_least_until_now() -> None:
    (wait,) = waits_of([row(state="PENDING", start_s=None, end_s=None)])
    assert observed(wait, 350.0) == Observation(250.0, ended=False)


def test_a_start_is_not_known_before_it_happens() -> None:
    assert observed(WAIT, 399.0) == Observation(299.0, ended=False)
    assert observed(WAIT, 400.0) == Observation(300.0, ended=True)


def test_a_job_kept_by_a_dependency_does_not_wait_for_the_queue() -> None:
    kept = row(shown_id="8", state="PENDING", start_s=None, end_s=None)
    assert waits_of([kept, row(eligible_s=100.0)]) == [WAIT]
    assert len(waits_of([kept, row()])) == 2, "where the dump has no Eligible, nothing distinguishes them"


def test_the_pending_rest_of_an_array_has_one_wait_per_task() -> None:
    assert len(waits_of([row(shown_id="7_[1-3]", state="PENDING", start_s=None, end_s=None, tasks=3)])) == 3


def test_a_pending_job_has_the_gpus_that_it_requests() -> None:
    (wait,) = waits_of([row(n_gpus=None, requested_tres="cpu=8,gres/gpu=2,node=1")])
    assert wait.shape.gpus == 2
    (wait,) = waits_of([row(n_gpus=None, requested_tres="cpu=8,node=1")])
    assert wait.shape.gpus == 0
    (wait,) = waits_of([row(n_gpus=None)])
    assert wait.shape.gpus is None


def test_the_user_replaces_a_missing_account() -> None:
    (wait,) = waits_of([row(account=None, user="ada")])
    assert wait.account == "ada"


def test_a_row_without_submission_time_gives_no_wait() -> None:
    assert waits_of([row(submit_s=None)]) == []


def test_limits_in_one_bin_have_one_shape() -> None:
    assert shape_of(4, 13 * HOUR_S) == shape_of(4, 24 * HOUR_S)
    assert shape_of(4, 12 * HOUR_S) != shape_of(4, 13 * HOUR_S)
    assert shape_of(4, None) == Shape(4, None)
