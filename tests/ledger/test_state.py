from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.ledger.record import Entry
from detour.ledger.state import StageState, State
from tests.ledger.records import journals, make_entry


def fold(*records: Entry[Any]) -> State:
    state = State()
    state.add(records)
    return state


def progress(done: int) -> dict[str, Any]:
    return {"done": done, "total": 10, "unit": "tokens", "figures": {}}


def stage(*records: Entry[Any]) -> StageState:
    return fold(*records).stages["pretrain-1"]


def event(sequence: int, kind: str, attempt: int | None = 1, **data: Any) -> Entry[Any]:
    return make_entry(f"attempt-{attempt}", sequence, kind, attempt=attempt, data=data)


@given(journals(), st.randoms(use_true_random=False), st.data())
def test_order_and_repetition_change_nothing(written: list[list[Entry[Any]]], random: Any, data: st.DataObject) -> None:
    plain = [record for records in written for record in records]
    expected = fold(*plain)
    again = data.draw(st.lists(st.sampled_from(plain))) if plain else []
    shuffled = [*plain, *again]
    random.shuffle(shuffled)
    state = fold(*shuffled)
    state.add(plain)
    assert state == expected
    assert expected.missing == 0
    for name in expected.stages:
        folded, wanted = state.stages[name], expected.stages[name]
        assert folded.status == wanted.status
        assert folded.result == wanted.result
        assert folded.progress == wanted.progress


@given(st.sets(st.integers(0, 30), min_size=1), st.randoms(use_true_random=False))
def test_gaps_are_counted(sequences: set[int], random: Any) -> None:
    shuffled = [make_entry(sequence=sequence) for sequence in sequences]
    random.shuffle(shuffled)
    assert fold(*shuffled).missing == max(sequences) + 1 - len(sequences)


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([event(0, "submit.stage", None)], "submitted"),
        ([event(0, "submit.stage", None), event(1, "cancel.stage", None)], "planned"),
        ([event(0, "attempt.started")], "running"),
        ([event(0, "attempt.started"), event(1, "attempt.ended", outcome="interrupted")], "interrupted"),
        ([event(0, "attempt.started"), event(1, "attempt.ended", outcome="not-ready")], "interrupted"),
        ([event(0, "attempt.started"), event(1, "attempt.ended", outcome="failed")], "failed"),
        ([event(0, "attempt.started"), event(1, "attempt.ended", outcome="new word", exit_code=85)], "interrupted"),
        ([event(0, "attempt.started"), event(1, "attempt.ended", outcome="done")], "done"),
        ([event(0, "attempt.ended", outcome="failed"), event(0, "attempt.started", 2)], "running"),
        ([event(0, "stage.failed", reason="NaN"), event(0, "attempt.started", 2)], "running"),
        ([event(0, "stage.failed", reason="NaN"), event(1, "attempt.ended", outcome="failed")], "failed"),
        ([event(0, "stage.done", result=1), event(0, "attempt.started", 2)], "done"),
    ],
)
def test_the_status_follows_the_cause_of_the_end(records: list[Entry[Any]], status: str) -> None:
    assert stage(*records).status == status
    assert stage(*reversed(records)).status == status


def test_a_clock_that_jumps_back_changes_no_order() -> None:
    first = make_entry("attempt-1", 0, "attempt.ended", attempt=1, wall_s=9e9, data={"outcome": "failed"})
    second = make_entry("attempt-2", 0, "attempt.started", attempt=2, wall_s=1e9)
    later = make_entry("attempt-2", 1, "progress", attempt=2, wall_s=5e8, mono_s=75.0, data=progress(2))
    folded = stage(later, second, first)
    assert folded.status == "running"
    assert folded.progress is not None
    assert folded.progress.done == 2
    assert folded.attempts[-1].elapsed_s == 65.0
    assert folded.attempts[-1].last_seen_s == 1e9


def test_a_stage_that_failed_is_open_again_once_another_attempt_began() -> None:
    failed = make_entry("attempt-1", 0, "stage.failed", attempt=1, wall_s=200.0, data={"reason": "NaN"})
    assert not stage(failed).is_open
    assert stage(failed, make_entry("attempt-2", 0, "attempt.started", attempt=2, wall_s=100.0)).is_open


def test_of_runs_after_the_output_was_removed_the_last_one_counts() -> None:
    def run(writer: str, at_s: float, job: str, n_events: int, *kinds: str) -> list[Entry[Any]]:
        return [
            make_entry(writer, n_events + place, kind, wall_s=at_s + place, job=job, attempt=1, data=data)
            for place, kind in enumerate(kinds)
            for data in [{"result": at_s} if kind == "stage.done" else {}]
        ]

    first = run("z", 100.0, "9", 50, "attempt.started", "stage.done")
    second = run("a", 200.0, "10", 0, "attempt.started", "stage.done")
    third = run("b", 300.0, "10", 0, "attempt.started")
    assert stage(*second, *first).result == 200.0
    assert [one.executor for one in stage(*second, *first).attempts] == ["9", "10"]
    assert not stage(*second, *first).is_open
    again = [record._replace(job="8") for record in third]
    assert stage(*again, *first, *second).attempts[-1].executor == "8"
    assert stage(*again, *first, *second).is_open
    assert stage(*again, *first, *second).since_done().status == "running"
    cancelled = [make_entry("c", place, "cancel.stage", job=job, attempt=None) for place, job in enumerate(("9", "8"))]
    assert stage(*first, cancelled[0]).since_done().status == "planned"
    assert not stage(*first, cancelled[0]).since_done().is_cancelled
    assert stage(*first, *again, *cancelled).since_done().is_cancelled


def test_an_attempt_has_the_facts_of_its_events() -> None:
    folded = stage(
        event(0, "attempt.started", node="n1"),
        event(1, "progress", **progress(1)),
        event(2, "energy", energy_kwh=0.1),
        event(3, "progress", **progress(5)),
        event(4, "energy", energy_kwh=0.3),
        make_entry("attempt-1-node-2", 0, "energy", data={"energy_kwh": 0.2}),
        event(5, "checkpoint.saved", step=10, tokens=100),
        event(6, "attempt.ended", outcome="interrupted", exit_code=85, reason="time limit"),
    )
    (attempt,) = folded.attempts
    assert attempt.outcome == "interrupted"
    assert attempt.exit_code == 85
    assert attempt.reason == "time limit"
    assert attempt.elapsed_s == 6.0
    assert [entry.event.energy_kwh for _, entry in sorted(attempt.energy.items())] == [0.3, 0.2]
    assert attempt.first_progress is not None
    assert attempt.first_progress.event.done == 1
    assert attempt.checkpoint is not None
    assert attempt.checkpoint.event.step == 10
    assert folded.reason == "time limit"
    assert folded.result is None


def test_a_chain_was_submitted_at_its_first_submission() -> None:
    submissions = [
        make_entry(
            f"command-{n}", 0, "chain.submitted", chain="base", stage=None, wall_s=9.0 - n, data={"cluster": "x"}
        )
        for n in range(3)
    ]
    assert fold(*submissions).submitted_s == {"base": 7.0}


def test_jobs_may_have_been_sent_since_the_first_intent_even_if_its_submission_was_killed() -> None:
    def made(kind: str, wall_s: float, **data: Any) -> Entry[Any]:
        return make_entry(f"command-{wall_s}", kind=kind, stage=None, wall_s=wall_s, data=data)

    intents = [made("submit.intent", at_s, tags=["t"], tasks=[["a"]], dependency="") for at_s in (90_000.0, 10_000.0)]
    assert fold(*intents, made("chain.submitted", 95_000.0, cluster="x")).sent_since_s == 6_400.0
    assert fold().sent_since_s == 0.0


def test_a_foreign_record_is_not_missing_and_changes_nothing_else() -> None:
    state = fold(make_entry(sequence=0, kind="run.paused"), make_entry(sequence=1, kind="progress", data={"done": "7"}))
    assert state.missing == 0
    assert not state.stages


def test_the_fold_names_the_stages_that_may_have_changed() -> None:
    state = State()
    started, planned = event(0, "attempt.started", node="n"), make_entry("command", kind="chain.planned", stage=None)
    assert state.add([started, planned]) == {"pretrain-1"}
    assert state.add([started, planned]) == set()
    run = {"source": "sacct", "start_s": 1.0, "elapsed_s": 9.0, "stages": ["pretrain-2"]}
    accounted = make_entry("accounts", kind="job.accounted", stage=None, job=started.job, data=run)
    assert state.add([accounted]) == {"pretrain-1", "pretrain-2"}
