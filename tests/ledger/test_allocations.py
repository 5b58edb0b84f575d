"""Runs in the scheduler's accounts, divided between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.ledger.allocations import AttemptSpan, parts
from detour.ledger.events import AttemptHeartbeat, AttemptStarted, Event, JobAccounted, StageDone
from detour.ledger.record import Entry
from detour.ledger.state import State

START_S = 1_772_323_200.0


def run(start_s: float, elapsed_s: float, state: str = "COMPLETED") -> JobAccounted:
    return JobAccounted(
        source="sacct", start_s=START_S + start_s, elapsed_s=elapsed_s, state=state, stages=["pretrain-1"]
    )


def spans(runs: list[JobAccounted], *starts_s: float) -> list[tuple[float, float] | None]:
    return held_by(runs, *((start_s, start_s) for start_s in starts_s))


def held_by(runs: list[JobAccounted], *attempts: tuple[float, float]) -> list[tuple[float, float] | None]:
    held, _ = parts(runs, [AttemptSpan(START_S + start_s, START_S + end_s) for start_s, end_s in attempts])
    return [None if one is None else (one.start_s - START_S, one.end_s - START_S) for one in held]


def test_an_attempt_holds_its_run_from_before_its_first_event_to_after_its_last() -> None:
    assert spans([run(0, 100)], 8.5) == [(0, 100)]


def test_stages_of_one_job_share_its_run_without_a_gap() -> None:
    assert spans([run(0, 100)], 5, 40, 70) == [(0, 40), (40, 70), (70, 100)]


def test_each_run_of_a_requeued_job_belongs_to_its_attempt() -> None:
    assert spans([run(200, 50), run(0, 100, "PREEMPTED")], 5, 203) == [(0, 100), (200, 250)]


def test_a_start_truncated_to_seconds_can_precede_that_of_the_attempt() -> None:
    assert spans([run(5, 10)], 4.2) == [(5, 15)]


def test_an_attempt_of_another_job_with_a_recycled_id_gets_no_part() -> None:
    assert spans([run(0, 100)], 90_000) == [None]
    assert spans([run(0, 100)], -90_000) == [None]


@pytest.mark.parametrize("ahead_s", [-240, -30, 30, 240])
def test_an_attempt_on_a_node_whose_clock_differs_gets_its_run(ahead_s: float) -> None:
    assert spans([run(0, 100)], ahead_s) == [(0, 100)]


def test_an_attempt_that_lives_long_after_the_last_known_run_belongs_to_one_that_has_no_accounts_yet() -> None:
    """sacct accounts for a preempted run as soon as it ends; the next, a minute later, is still running."""
    assert held_by([run(0, 100, "PREEMPTED")], (5, 95), (160, 3000)) == [(0, 100), None]


def test_an_attempt_between_two_runs_belongs_to_the_nearer_one() -> None:
    assert spans([run(0, 100, "PREEMPTED"), run(200, 50)], 10, 180) == [(0, 100), (200, 250)]


def test_a_job_of_the_same_id_on_another_cluster_has_runs_of_its_own() -> None:
    """Two clusters share the workspace, and only one of them has accounts."""
    attempts = [AttemptSpan(START_S, START_S + 90, "pretrain-1"), AttemptSpan(START_S + 50, START_S + 70, "pretrain-2")]
    held, alone = parts([run(0, 100)], attempts)
    assert [one and (one.start_s - START_S, one.end_s - START_S) for one in held] == [(0, 100), None]
    assert alone == []


def test_of_a_suspended_run_only_the_time_on_nodes_is_divided() -> None:
    """It was suspended for one of two hours, so each of its stages was on nodes for half of its time."""
    suspended = JobAccounted(source="sacct", start_s=START_S, elapsed_s=3600.0, end_s=START_S + 7200)
    assert held_by([suspended], (0, 5400), (5400, 7200)) == [(0, 5400), (5400, 7200)]
    held, _ = parts([suspended], [AttemptSpan(START_S, START_S + 5400), AttemptSpan(START_S + 5400, START_S + 7200)])
    assert [one.active for one in held if one] == [0.5, 0.5]


def test_concurrent_attempts_divide_their_run_by_duration() -> None:
    assert held_by([run(0, 90)], (5, 85), (5, 45), (45, 85)) == [(0, 45), (45, 67.5), (67.5, 90)]


def test_concurrent_attempts_hold_less_than_a_second_for_each_second_that_they_ran() -> None:
    ran = [(5, 85), (5, 45), (45, 85), (90, 95)]
    held, _ = parts([run(0, 95)], [AttemptSpan(START_S + start_s, START_S + end_s) for start_s, end_s in ran])
    assert [one.pace for one in held if one] == [0.5, 0.5, 0.5, 1.0]


def test_an_attempt_after_concurrent_ones_holds_only_the_time_from_its_start() -> None:
    assert held_by([run(0, 100)], (0, 40), (1, 39), (60, 100)) == [
        (0, pytest.approx(30.77, abs=0.01)),
        (pytest.approx(30.77, abs=0.01), 60),
        (60, 100),
    ]


def test_a_run_without_events_is_kept_apart() -> None:
    held, alone = parts([run(0, 30, "NODE_FAIL"), run(100, 50)], [AttemptSpan(START_S + 103, START_S + 103)])
    assert held[0] is not None
    assert [(one.start_s - START_S, one.end_s - START_S, event.state) for event, one in alone] == [(0, 30, "NODE_FAIL")]


RUNS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 400)), max_size=5)


@given(RUNS, st.lists(st.tuples(st.floats(-10, 6_000), st.floats(0, 2_000)), max_size=6))
def test_the_parts_of_each_run_add_up_to_it_exactly(
    lengths: list[tuple[int, int]], attempts: list[tuple[float, float]]
) -> None:
    runs, at_s = [], 0
    for gap_s, elapsed_s in lengths:
        runs.append(run(at_s + gap_s, elapsed_s))
        at_s += gap_s + elapsed_s + 5
    held, alone = parts(
        runs, sorted(AttemptSpan(START_S + start_s, START_S + start_s + lasted_s) for start_s, lasted_s in attempts)
    )
    known = [*(one for one in held if one is not None), *(one for _, one in alone)]
    for one in runs:
        of_run = [part for part in known if part.run is one]
        assert sum(part.end_s - part.start_s for part in of_run) == pytest.approx(one.elapsed_s, abs=1e-5)
        assert all(part.end_s >= part.start_s for part in of_run)


def entry(sequence: int, event: Event, stage: str | None = None, attempt: int | None = None) -> Entry[Event]:
    return Entry(sequence, "w", START_S + 5, 5.0, event, None, stage, "7", attempt)


def test_an_attempt_gets_its_part_whichever_record_comes_first() -> None:
    events = [
        entry(0, AttemptStarted(gpus=4), stage="pretrain-1", attempt=1),
        entry(1, run(0, 100)),
        entry(2, run(200, 50, "NODE_FAIL")),
    ]
    for order in (events, events[::-1]):
        state = State()
        state.add(order)
        stage = state.stages["pretrain-1"]
        (attempt,) = stage.attempts
        assert attempt.held is not None
        assert (attempt.held.start_s - START_S, attempt.held.end_s - START_S) == (0, 100)
        assert [one.held and one.held.run.state for one in stage.runs] == ["COMPLETED", "NODE_FAIL"]
        assert stage.status == "running", "a run without events decides nothing"


@pytest.mark.parametrize("accounts_at", [0, 2, 4])
def test_concurrent_attempts_killed_together_divide_their_run_by_their_last_signs_of_life(accounts_at: int) -> None:
    batches = [
        [Entry(0, stage, START_S + 5, 5.0, AttemptStarted(gpus=1), None, stage, "7", 1)] for stage in ("a", "b")
    ] + [
        [Entry(1, stage, START_S + 5 + lasted_s, 5.0 + lasted_s, AttemptHeartbeat(), None, stage, "7", 1)]
        for stage, lasted_s in (("a", 80), ("b", 40))
    ]
    account = JobAccounted(source="sacct", start_s=START_S, elapsed_s=90.0, state="NODE_FAIL", stages=["a", "b"])
    accounts: list[Entry[Event]] = [entry(0, account)]
    state = State()
    for batch in [*batches[:accounts_at], accounts, *batches[accounts_at:]]:
        state.add(batch)
    held = [state.stages[stage].attempts[0].held for stage in ("a", "b")]
    assert [one and (one.start_s - START_S, one.end_s - START_S) for one in held] == [(0, 60), (60, 90)]


def test_a_later_record_of_a_run_replaces_the_earlier_one() -> None:
    state = State()
    state.add([entry(0, run(0, 100)), entry(1, run(0, 120))])
    (alone,) = state.stages["pretrain-1"].runs
    assert alone.held is not None
    assert alone.held.end_s - START_S == 120


@pytest.mark.parametrize("ahead_s", [-240.0, 0.0, 240.0])
def test_dependents_can_start_at_the_end_of_a_job_by_the_accounts_whatever_the_clock_of_its_node(
    ahead_s: float,
) -> None:
    def entry(sequence: int, at_s: float, event: Event) -> Entry[Event]:
        return Entry(sequence, "w", START_S + at_s + ahead_s, at_s, event, stage="pretrain-1", job="7", attempt=1)

    state = State()
    state.add([entry(0, 10.0, AttemptStarted()), entry(1, 90.0, StageDone())])
    assert state.stage("pretrain-1").released_s == START_S + 90.0 + ahead_s
    state.add([Entry(0, "accounts", START_S + 500, 500.0, run(0, 100), job="7")])
    assert state.stage("pretrain-1").released_s == START_S + 100.0
