"""Hours and fates of an attempt, taken from the scheduler's accounts if these are known."""

from __future__ import annotations

import pytest

from detour.accounting.attempts import usage_of
from detour.accounting.fates import Fates, fates_s
from detour.ledger.allocations import Held
from detour.ledger.events import AttemptEnded, AttemptStarted, CheckpointSaved, Event, JobAccounted, ProgressMade
from detour.ledger.record import Entry
from detour.ledger.stages import AttemptState
from detour.ledger.state import State
from detour.reporting.period import Period

START_S = 1_772_323_200.0


def attempt_of(*events: tuple[Event, float], run: JobAccounted | None = None) -> AttemptState:
    state = State()
    state.add(
        [
            Entry(number, "w", START_S + at_s, at_s, event, None, "pretrain-1", "7", 1)
            for number, (event, at_s) in enumerate(events)
        ]
    )
    if run is not None:
        state.add([Entry(0, "a", START_S + 900, 900.0, run, None, None, "7", None)])
    return state.stages["pretrain-1"].attempts[0]


STARTED = (AttemptStarted(gpus=4, cpus=96), 10.0)
READY = (ProgressMade(done=1, total=2, unit="tokens", figures={}), 40.0)
SAVED = (CheckpointSaved(step=5, tokens=1), 70.0)
KILLED = (AttemptEnded(outcome="interrupted", exit_code=85), 90.0)
DONE = (AttemptEnded(outcome="done", exit_code=0), 90.0)
RUN = JobAccounted(source="sacct", start_s=START_S, elapsed_s=100.0, gpus=4, cpus=96, nodes=1, stages=["pretrain-1"])


def test_time_before_the_first_event_and_after_the_last_is_idle() -> None:
    usage = usage_of("pretrain-1", attempt_of(STARTED, READY, SAVED, KILLED, run=RUN), START_S + 900)
    assert usage is not None
    assert (usage.start_s, usage.end_s, usage.source) == (START_S, START_S + 100, "sacct")
    assert fates_s(usage) == Fates(startup=30.0, useful=30.0, redone=20.0, idle=20.0)


def test_suspended_time_is_not_counted_and_spread_evenly_over_the_run() -> None:
    """The run was suspended for half of 200 s, so everything happens at half the pace."""
    suspended = JobAccounted(**{**RUN.to_json(), "end_s": START_S + 200})
    events = ((event, 2 * at_s) for event, at_s in (STARTED, READY, SAVED, KILLED))
    usage = usage_of("pretrain-1", attempt_of(*events, run=suspended), START_S + 900)
    assert usage is not None
    assert (usage.start_s, usage.end_s, usage.allocated_s) == (START_S, START_S + 200, 100.0)
    assert fates_s(usage) == Fates(startup=30.0, useful=30.0, redone=20.0, idle=20.0)
    first = Period(START_S, START_S + 50).part_of(usage)
    assert first is not None
    assert first.allocated_s == 25.0


@pytest.mark.parametrize("ahead_s", [-30.0, 30.0])
def test_the_work_on_a_node_with_a_differing_clock_is_moved_into_its_run(ahead_s: float) -> None:
    events = ((event, at_s + ahead_s) for event, at_s in (STARTED, READY, SAVED, KILLED))
    usage = usage_of("pretrain-1", attempt_of(*events, run=RUN), START_S + 900)
    assert usage is not None
    assert (usage.start_s, usage.end_s) == (START_S, START_S + 100)
    assert fates_s(usage) == Fates(startup=30.0, useful=30.0, redone=20.0, idle=20.0)


def test_a_finished_attempt_is_useful_until_its_end_and_not_longer() -> None:
    usage = usage_of("pretrain-1", attempt_of(STARTED, READY, DONE, run=RUN), START_S + 900)
    assert usage is not None
    assert fates_s(usage) == Fates(startup=30.0, useful=50.0, idle=20.0)


def test_without_accounts_the_journal_alone_counts() -> None:
    usage = usage_of("pretrain-1", attempt_of(STARTED, READY, DONE), START_S + 900)
    assert usage is not None
    assert (usage.start_s, usage.end_s, usage.source) == (START_S + 10, START_S + 90, "journal")
    assert fates_s(usage).idle == 0.0


def test_an_attempt_without_an_end_is_open_until_the_accounts_close_it() -> None:
    open_ended = usage_of("pretrain-1", attempt_of(STARTED, READY), START_S + 900)
    assert open_ended is not None
    assert open_ended.open_ended
    assert open_ended.end_s == START_S + 40
    closed = usage_of("pretrain-1", attempt_of(STARTED, READY, run=RUN), START_S + 900)
    assert closed is not None
    assert not closed.open_ended
    assert closed.end_s == START_S + 100


def test_gpus_that_the_site_does_not_track_come_from_the_attempt() -> None:
    untracked = JobAccounted(**{**RUN.to_json(), "gpus": 0})
    usage = usage_of("pretrain-1", attempt_of(STARTED, DONE, run=untracked), START_S + 900)
    assert usage is not None
    assert usage.gpus == 4


def test_a_run_without_an_attempt_is_idle() -> None:
    alone = AttemptState(-1, "7", held=Held(START_S, START_S + 100, RUN))
    usage = usage_of("pretrain-1", alone, START_S + 900)
    assert usage is not None
    assert (usage.gpus, usage.allocated_s) == (4, 100.0)
    assert fates_s(usage) == Fates(idle=100.0)


def test_without_accounts_the_time_before_the_first_event_counts_if_the_job_knows_its_start() -> None:
    started = (AttemptStarted(gpus=4, cpus=96, held_since_s=START_S), 10.0)
    usage = usage_of("pretrain-1", attempt_of(started, READY, DONE), START_S + 900)
    assert usage is not None
    assert (usage.start_s, usage.end_s) == (START_S, START_S + 90)
    assert fates_s(usage) == Fates(startup=30.0, useful=50.0, idle=10.0)
