"""State, reason and next step of every stage."""

from __future__ import annotations

import os
from typing import Any

import pytest

from detour.ledger.events import (
    AttemptEnded,
    AttemptHeartbeat,
    AttemptStarted,
    Event,
    JournalOpened,
    StageDone,
    StageSubmitted,
)
from detour.ledger.process import Process
from detour.ledger.record import Entry
from detour.ledger.state import State
from detour.monitoring.full_disk import SILENT_S
from detour.monitoring.liveness import Marker, StatusEvidence, stage_status
from detour.monitoring.queries import SeenJob
from detour.monitoring.reasons import reason_in_words, wait_of
from detour.monitoring.states import START_S, WORDS, Judged, judge
from detour.scheduler.states import parse_state

NOW_S = 10_000.0
ELSEWHERE = Process.current()._replace(host="node7", boot="another")
STARTED = AttemptStarted()
SAVED = AttemptEnded(outcome="interrupted", exit_code=85, reason="signal SIGUSR2: saved at step 9")
SAVED_TEXT = AttemptEnded(
    outcome="interrupted", exit_code=85, reason="stopped (signal SIGUSR2); what was tokenised is kept"
)
FAILED = AttemptEnded(outcome="failed", exit_code=1, reason="KeyError: 'input_ids'")
ASKED = AttemptEnded(outcome="interrupted", exit_code=85, reason="signal SIGTERM: saved at step 9")


def seen(job: str, word: str, reason: str = "", **more: Any) -> SeenJob:
    return SeenJob(job, parse_state(word).value, parse_state(word).standing.value, reason, seen_s=NOW_S, **more)


def judged(events: list[Event], *jobs: SeenJob, silent_s: float = 5.0, kind: str = "pretrain") -> Judged:
    """Return the row of a stage whose job 7 wrote these events, the last `silent_s` ago; job 8 is its next segment."""
    state, at_s = State(), NOW_S - silent_s
    state.add([Entry(0, "w", at_s, at_s, JournalOpened(**ELSEWHERE._asdict()))])
    for sequence, event in enumerate([StageSubmitted(), *events], start=1):
        attempt = None if isinstance(event, StageSubmitted) else 1
        state.add([Entry(sequence, "w", at_s, at_s, event, stage="s", job="7", attempt=attempt)])
    if any(job.id == "8" for job in jobs):
        state.add([Entry(99, "w", at_s, at_s, StageSubmitted(), stage="s", job="8")])
    evidence = StatusEvidence(NOW_S, state.writers, {job.id: job for job in jobs})
    known = state.stages["s"]
    marker: Marker | None = "done" if any(isinstance(event, StageDone) for event in events) else None
    return judge(kind, known, stage_status(known, marker, evidence), None, evidence)


@pytest.mark.parametrize(
    ("events", "jobs", "state", "why"),
    [
        ([], [seen("7", "PENDING", "Priority")], "pending", "others are ahead of it (Priority)"),
        ([], [seen("7", "PENDING", "Resources")], "pending", "waits for free nodes"),
        ([], [seen("7", "PENDING", "Dependency")], "pending", "waits for the jobs before it"),
        ([], [seen("7", "PENDING", "QOSMaxGRESPerUser")], "pending", "under a limit of its QOS (QOSMaxGRESPerUser)"),
        ([], [seen("7", "RUNNING")], "running", "not yet given a sign of life"),
        ([STARTED], [seen("7", "RUNNING")], "running", None),
        ([STARTED], [seen("7", "SUSPENDED")], "running", "suspended, goes on once it is resumed (SUSPENDED)"),
        (
            [STARTED, SAVED],
            [seen("7", "TIMEOUT"), seen("8", "PENDING", "Resources")],
            "saved at limit",
            "waits for free",
        ),
        ([STARTED, SAVED], [seen("8", "PENDING", "Resources")], "saved at limit", "waits for free"),
        ([STARTED], [seen("7", "TIMEOUT"), seen("8", "PENDING", "Priority")], "timed out", "others are ahead"),
        ([STARTED, ASKED], [seen("7", "PENDING", "BeginTime", before="PREEMPTED")], "preempted", "begin time"),
        ([STARTED, ASKED], [seen("7", "PENDING", "BeginTime", before="REQUEUED")], "requeued", "begin time"),
        ([STARTED, ASKED], [seen("7", "PENDING", "BeginTime")], "requeued", "begin time"),
        ([STARTED], [seen("7", "PENDING", "BeginTime", before="NODE_FAIL")], "node failed", "begin time"),
        (
            [STARTED, FAILED],
            [seen("7", "FAILED"), seen("8", "PENDING", "Priority")],
            "pending",
            "after a failed attempt (KeyError: 'input_ids'): others are ahead of it (Priority)",
        ),
        (
            [STARTED],
            [seen("7", "FAILED", signal=9), seen("8", "PENDING", "Resources")],
            "pending",
            "after a failed attempt (ended as FAILED, signal 9): next in turn",
        ),
        ([StageDone()], [], "done", None),
    ],
)
def test_stages_that_resume_by_themselves_need_no_person(
    events: list[Event], jobs: list[SeenJob], state: str, why: str | None
) -> None:
    found = judged(events, *jobs)
    assert (found.state, found.needs) == (state, False)
    assert found.why is None if why is None else why in (found.why or "")
    assert found.next_step is None


@pytest.mark.parametrize(
    ("events", "jobs", "state", "why", "step"),
    [
        ([], [seen("7", "FAILED", exit_code=1)], "failed", "ended as FAILED, exit code 1 before", "{why}"),
        ([], [seen("7", "OUT_OF_MEMORY")], "failed", "OUT_OF_MEMORY", "{retry}"),
        ([STARTED], [seen("7", "OUT_OF_MEMORY")], "failed", "ended as OUT_OF_MEMORY", "{why}"),
        ([STARTED], [seen("7", "FAILED", signal=11)], "failed", "ended as FAILED, signal 11", "{why}"),
        ([STARTED], [seen("7", "FAILED", exit_code=85)], "interrupted", "exit code 85", "{retry}"),
        ([STARTED, SAVED], [seen("7", "TIMEOUT")], "saved at limit", "signal SIGUSR2", "{retry}"),
        ([STARTED, SAVED_TEXT], [], "saved at limit", "signal SIGUSR2", "{retry}"),
        ([STARTED], [seen("7", "TIMEOUT")], "timed out", "ended as TIMEOUT", "{retry}"),
        ([], [seen("7", "TIMEOUT")], "timed out", "ended as TIMEOUT", "{retry}"),
        ([STARTED, ASKED], [seen("7", "PREEMPTED")], "preempted", "signal SIGTERM", "{retry}"),
        ([], [seen("7", "NODE_FAIL")], "node failed", "NODE_FAIL", "{retry}"),
        ([STARTED, ASKED], [], "interrupted", "signal SIGTERM", "{retry}"),
        ([], [seen("7", "PENDING", "JobHeldUser", is_held=True)], "held", "held by a person", "{release}"),
        ([], [seen("7", "PENDING", "JobHeldAdmin", is_held=True)], "held", "held by an administrator", "ask the site"),
        ([], [seen("7", "PENDING", "DependencyNeverSatisfied")], "pending", "never start", "{cancel}"),
    ],
)
def test_stages_that_do_not_continue_by_themselves_say_what_to_do(
    events: list[Event], jobs: list[SeenJob], state: str, why: str, step: str
) -> None:
    found = judged(events, *jobs, silent_s=500.0)
    assert (found.state, found.needs) == (state, True)
    assert why in (found.why or "")
    assert step in (found.next_step or "")


def test_a_job_running_in_slurm_but_silent_for_three_heartbeats_is_lost_contact() -> None:
    assert judged([STARTED], seen("7", "RUNNING"), silent_s=SILENT_S).state == "running"
    assert judged([STARTED], seen("7", "SUSPENDED"), silent_s=5000).state == "running"
    lost = judged([STARTED], seen("7", "RUNNING"), silent_s=SILENT_S + 1)
    assert (lost.state, lost.needs, lost.why) == ("lost contact", True, "runs, without a sign of life for 31s")


def test_a_job_without_any_event_is_lost_contact_after_two_minutes() -> None:
    assert judged([], seen("7", "RUNNING", started_s=NOW_S - START_S)).state == "running"
    lost = judged([STARTED, ASKED], seen("7", "RUNNING", started_s=NOW_S - START_S - 1), silent_s=500.0)
    assert (lost.state, lost.needs) == ("lost contact", True)
    assert (lost.job, lost.why) == ("7", "started 2m01s ago, and has given no sign of life")


def test_a_job_that_is_still_ending_after_its_attempt_saved_has_not_lost_contact() -> None:
    found = judged([STARTED, SAVED], seen("7", "RUNNING", started_s=NOW_S - 5000), silent_s=10.0)
    assert (found.state, found.needs, found.why) == ("running", False, "has stopped its work, and its job is ending")


def test_a_silent_job_is_unknown_and_not_failed_if_slurm_does_not_answer() -> None:
    assert judged([STARTED], silent_s=500.0).state == "unknown"


def test_a_stage_cancelled_by_a_person_says_so_and_how_to_run_it_again() -> None:
    found = judged([STARTED, ASKED], seen("7", "CANCELLED by 1000"))
    assert (found.state, found.needs, found.why) == ("cancelled", False, "cancelled after it started")
    assert "{retry}" in (found.next_step or "")


@pytest.mark.parametrize(
    ("events", "jobs", "job"),
    [
        ([STARTED, SAVED], [seen("7", "TIMEOUT"), seen("8", "PENDING", "Resources")], "8"),
        ([], [seen("7", "FAILED", exit_code=1)], "7"),
        ([STARTED], [seen("7", "RUNNING")], "7"),
        ([STARTED, SAVED], [seen("7", "TIMEOUT")], None),
    ],
)
def test_a_reason_of_slurm_is_shown_for_one_job_and_not_if_the_stage_has_its_own(
    events: list[Event], jobs: list[SeenJob], job: str | None
) -> None:
    assert judged(events, *jobs, silent_s=500.0).job == job


def test_slurms_mark_of_a_lack_of_memory_is_not_called_a_signal() -> None:
    assert judged([STARTED], seen("7", "OUT_OF_MEMORY", signal=125), silent_s=500.0).why == "ended as OUT_OF_MEMORY"


def test_a_long_failure_leaves_room_for_what_its_repetition_waits_for() -> None:
    failed = AttemptEnded(outcome="failed", reason="ValueError: " + "x\n" * 500)
    why = judged([STARTED, failed], seen("7", "FAILED"), seen("8", "PENDING", "Priority")).why or ""
    assert why.startswith("after a failed attempt (ValueError: x x x")
    assert why.endswith("…): others are ahead of it (Priority)")
    assert len(why) < 180


def test_a_finished_promotion_is_promoted() -> None:
    assert judged([StageDone()], kind="promote").state == "promoted"


@pytest.mark.parametrize(
    ("reason", "wait"),
    [("Dependency", "eligible"), ("BeginTime", "eligible"), ("Priority", "start"), ("QOSMaxJobsPerUserLimit", "start")],
)
def test_a_reason_distinguishes_the_two_kinds_of_wait(reason: str, wait: str) -> None:
    assert wait_of(reason, is_held=False) == wait
    assert wait_of(reason, is_held=True) == "eligible"


def test_an_unknown_reason_is_shown_as_slurm_gives_it() -> None:
    assert reason_in_words("SomethingNew", is_held=False) == "Slurm says SomethingNew"
    assert "(ReqNodeNotAvail)" in reason_in_words("ReqNodeNotAvail, UnavailableNodes:n[1-4]", is_held=False)


def test_every_state_has_its_place_in_the_order() -> None:
    assert len(WORDS) == len(set(WORDS)) == 16
    assert WORDS[0] == "failed"
    assert WORDS[-1] == "done"


MINUTES_APART_S = 240.0
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def on_a_node_with_another_clock(
    job: SeenJob, lead_s: float, *, began_s: float, silent_s: float, took_s: float = 20.0
) -> Judged:
    """Return the row of a stage whose process began `took_s` before its attempt, both by true times, and is silent."""
    booted_s, seen_s = NOW_S - 5000, NOW_S - silent_s
    process = ELSEWHERE._replace(start_ticks=int((began_s - booted_s) * CLOCK_TICKS))
    opened, started = JournalOpened(**process._asdict()), began_s + took_s
    state = State()
    state.add(
        [
            Entry(0, "w", started + lead_s, started - booted_s, opened),
            Entry(1, "w", started + lead_s, started - booted_s, STARTED, stage="s", job="7", attempt=1),
            Entry(2, "w", seen_s + lead_s, seen_s - booted_s, AttemptHeartbeat(), stage="s", job="7", attempt=1),
        ]
    )
    evidence = StatusEvidence(NOW_S, state.writers, {job.id: job})
    known = state.stages["s"]
    return judge("pretrain", known, stage_status(known, None, evidence), None, evidence)


@pytest.mark.parametrize("lead_s", [-MINUTES_APART_S, -45.0, 0.0, MINUTES_APART_S])
def test_a_live_job_on_a_node_with_a_wrong_clock_is_running(lead_s: float) -> None:
    running = seen("7", "RUNNING", started_s=NOW_S - 605)
    found = on_a_node_with_another_clock(running, lead_s, began_s=NOW_S - 600, silent_s=10.0)
    assert (found.state, found.why, found.needs) == ("running", None, False)


@pytest.mark.parametrize("lead_s", [-MINUTES_APART_S, 0.0])
def test_a_silent_job_on_a_node_with_a_wrong_clock_is_lost_contact(lead_s: float) -> None:
    running = seen("7", "RUNNING", started_s=NOW_S - 600)
    found = on_a_node_with_another_clock(running, lead_s, began_s=NOW_S - 600, silent_s=300.0)
    assert (found.state, found.why) == ("lost contact", "runs, without a sign of life for 5m00s")


def test_a_process_that_lived_longer_than_the_jobs_run_is_no_sign_of_life_of_it() -> None:
    requeued = seen("7", "RUNNING", started_s=NOW_S - 60)
    found = on_a_node_with_another_clock(requeued, 0.0, began_s=NOW_S - 900, silent_s=300.0)
    assert (found.state, found.why) == ("lost contact", "runs, without a sign of life for 5m00s")


@pytest.mark.parametrize("lead_s", [-MINUTES_APART_S, 0.0, MINUTES_APART_S])
def test_a_job_that_ended_on_a_node_with_a_wrong_clock_does_not_run(lead_s: float) -> None:
    killed = seen("7", "FAILED", started_s=NOW_S - 100, ended_s=NOW_S - 10, signal=9)
    found = on_a_node_with_another_clock(killed, lead_s, began_s=NOW_S - 95, silent_s=15.0)
    assert (found.state, found.why) == ("failed", "ended as FAILED, signal 9")


def test_an_attempt_of_a_job_that_was_requeued_after_its_end_was_reported_runs() -> None:
    ended = seen("7", "FAILED", started_s=NOW_S - 3600, ended_s=NOW_S - 1800)._replace(seen_s=NOW_S - 60)
    assert on_a_node_with_another_clock(ended, 0.0, began_s=NOW_S - 50, silent_s=5.0).state == "running"
