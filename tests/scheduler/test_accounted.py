"""Which jobs sacct is asked about, and what is recorded of its answer."""

from __future__ import annotations

from dataclasses import replace

from detour.ledger.events import AttemptEnded, AttemptStarted, Event, JobAccounted
from detour.ledger.record import Entry
from detour.ledger.state import State
from detour.sacct.rows import JobRow
from detour.scheduler.accounted import accounted, to_ask
from detour.scheduler.sent_jobs import Sent
from detour.scheduler.tags import Tag

NOW_S = 1_772_323_200.0
TAG = Tag("ours", "pretrain-1", 1, "s1")
SENT = Sent(TAG, (("pretrain-1",),), job_id="7", committed=True)
ROW = JobRow(
    job_id=7,
    shown_id="7",
    name=str(TAG),
    state="COMPLETED",
    submit_s=NOW_S - 500,
    start_s=NOW_S - 400,
    end_s=NOW_S - 100,
    elapsed_s=300,
    n_gpus=4,
    n_cpus=96,
    n_nodes=1,
    cluster="jz",
)


def state_of(*events: tuple[Event, float], accounts: tuple[JobAccounted, ...] = ()) -> State:
    state = State()
    state.add(
        [
            Entry(number, "w", at_s, at_s, event, None, "pretrain-1", "7", 1)
            for number, (event, at_s) in enumerate(events)
        ]
    )
    state.add([Entry(number, "a", NOW_S, NOW_S, event, None, None, "7", None) for number, event in enumerate(accounts)])
    return state


STARTED = (AttemptStarted(gpus=4, cluster="jean-zay"), NOW_S - 395)
ENDED = (AttemptEnded(outcome="done", exit_code=0), NOW_S - 105)


def queried(state: State, *sent: Sent) -> list[str]:
    return [str(job.job_id) for job in to_ask(state, sent or [SENT])]


def test_an_ended_attempt_is_queried_until_it_is_accounted() -> None:
    assert queried(state_of(STARTED, ENDED)) == ["7"]
    (found,) = accounted([ROW], state_of(STARTED, ENDED), {TAG: SENT}, [SENT], 0.0)
    assert queried(state_of(STARTED, ENDED, accounts=(found.event,))) == []


def test_a_job_that_was_cancelled_after_its_start_is_queried() -> None:
    cancelled = replace(SENT, dropped=True)
    assert queried(state_of(STARTED), cancelled) == ["7"]
    (found,) = accounted([ROW], state_of(STARTED), {TAG: cancelled}, [cancelled], 0.0)
    assert queried(state_of(STARTED, ENDED, accounts=(found.event,)), cancelled) == []


def test_a_job_without_events_is_queried_and_one_that_was_not_sent_is_not() -> None:
    assert queried(State()) == ["7"]
    assert queried(State(), Sent(TAG, (("pretrain-1",),), job_id="7", committed=True, dropped=True)) == []


def test_a_preempted_job_is_queried_again() -> None:
    (found,) = accounted([ROW._replace(state="PREEMPTED")], state_of(STARTED, ENDED), {TAG: SENT}, [SENT], 0.0)
    assert queried(state_of(STARTED, ENDED, accounts=(found.event,))) == ["7"]


def test_a_run_is_recorded_with_the_stages_of_its_tag() -> None:
    (found,) = accounted([ROW], state_of(STARTED, ENDED), {TAG: SENT}, [SENT], 0.0)
    assert found.job == "7"
    assert found.event == JobAccounted(
        source="sacct",
        submit_s=NOW_S - 500,
        start_s=NOW_S - 400,
        elapsed_s=300,
        state="COMPLETED",
        gpus=4,
        cpus=96,
        nodes=1,
        cluster="jz",
        job_id=7,
        billing=None,
        energy_j=None,
        profile="jean-zay",
        stages=["pretrain-1"],
    )


def test_the_end_of_a_suspended_run_is_recorded() -> None:
    found = accounted([ROW, ROW._replace(elapsed_s=200)], State(), {TAG: SENT}, [SENT], 0.0)
    assert [one.event.end_s for one in found] == [None, NOW_S - 100]


def test_nothing_is_recorded_twice() -> None:
    (found,) = accounted([ROW], state_of(STARTED, ENDED), {TAG: SENT}, [SENT], 0.0)
    again = state_of(STARTED, ENDED, accounts=(found.event,))
    assert list(accounted([ROW], again, {TAG: SENT}, [SENT], 0.0)) == []
    assert len(list(accounted([ROW._replace(elapsed_s=301)], again, {TAG: SENT}, [SENT], 0.0))) == 1


def test_jobs_of_others_and_running_jobs_are_left_out() -> None:
    stranger = ROW._replace(name=str(Tag("theirs", "pretrain-1", 1, "s1")))
    recycled = ROW._replace(name="job", submit_s=NOW_S - 90_000)
    running = ROW._replace(end_s=None, state="RUNNING")
    assert list(accounted([stranger, recycled, running], State(), {TAG: SENT}, [SENT], NOW_S - 600)) == []


def test_a_job_with_a_rewritten_name_is_recognized_by_id_and_time() -> None:
    assert len(list(accounted([ROW._replace(name="job")], State(), {TAG: SENT}, [SENT], NOW_S - 600))) == 1


def test_tasks_of_an_array_that_never_ran_are_recorded_one_by_one() -> None:
    sent = Sent(TAG, (("evaluate-1",), ("evaluate-2",), ("evaluate-3",)), job_id="7", committed=True)
    rest = ROW._replace(shown_id="7_[1-2%1]", array_job_id=7, start_s=None, elapsed_s=0, state="CANCELLED", tasks=2)
    found = list(accounted([rest], State(), {TAG: sent}, [sent], 0.0))
    assert [(one.job, one.event.start_s, one.event.stages) for one in found] == [
        ("7_1", None, ["evaluate-2"]),
        ("7_2", None, ["evaluate-3"]),
    ]
