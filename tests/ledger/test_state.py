from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detour.ledger.record import Record
from detour.ledger.state import StageState, State
from tests.ledger.records import journals, make_record


def fold(*records: Record) -> State:
    state = State()
    state.add(records)
    return state


def stage(*records: Record) -> StageState:
    return fold(*records).stages["pretrain-1"]


def event(sequence: int, kind: str, attempt: int | None = 1, **data: Any) -> Record:
    return make_record(f"attempt-{attempt}", sequence, kind, attempt=attempt, data=data)


@given(journals(), st.randoms(use_true_random=False), st.data())
def test_order_and_repetition_change_nothing(written: list[list[Record]], random: Any, data: st.DataObject) -> None:
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
        assert (folded.status, folded.result, folded.progress) == (wanted.status, wanted.result, wanted.progress)


@given(st.sets(st.integers(0, 30), min_size=1), st.randoms(use_true_random=False))
def test_gaps_are_counted(sequences: set[int], random: Any) -> None:
    shuffled = [make_record(sequence=sequence) for sequence in sequences]
    random.shuffle(shuffled)
    assert fold(*shuffled).missing == max(sequences) + 1 - len(sequences)


@pytest.mark.parametrize(
    ("records", "status"),
    [
        ([event(0, "stage.planned", None)], "planned"),
        ([event(0, "submit.recorded", None)], "submitted"),
        ([event(0, "submit.recorded", None), event(1, "cancel.recorded", None)], "planned"),
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
def test_status_by_cause(records: list[Record], status: str) -> None:
    assert stage(*records).status == status
    assert stage(*reversed(records)).status == status


def test_a_clock_that_jumps_back_deceives_nobody() -> None:
    first = make_record("attempt-1", 0, "attempt.ended", attempt=1, wall_s=9e9, data={"outcome": "failed"})
    second = make_record("attempt-2", 0, "attempt.started", attempt=2, wall_s=1e9)
    later = make_record("attempt-2", 1, "progress", attempt=2, wall_s=5e8, mono_s=75.0, data={"done": 2})
    folded = stage(later, second, first)
    assert folded.status == "running"
    assert folded.progress is not None
    assert folded.progress.data == {"done": 2}
    assert folded.attempts[-1].elapsed_s == 65.0
    assert folded.attempts[-1].last_seen_s == 1e9


def test_an_attempt_tells_what_it_did() -> None:
    folded = stage(
        event(0, "attempt.started", node="n1"),
        event(1, "progress", done=1),
        event(2, "energy", energy_kwh=0.1),
        event(3, "progress", done=5),
        event(4, "energy", energy_kwh=0.3),
        make_record("attempt-1-node-2", 0, "energy", data={"energy_kwh": 0.2}),
        event(5, "checkpoint.saved", step=10),
        event(6, "attempt.ended", outcome="interrupted", exit_code=85, reason="time limit"),
    )
    (attempt,) = folded.attempts
    assert (attempt.outcome, attempt.exit_code, attempt.reason) == ("interrupted", 85, "time limit")
    assert attempt.elapsed_s == 6.0
    assert [mark.data["energy_kwh"] for _, mark in sorted(attempt.energy.items())] == [0.3, 0.2]
    assert attempt.first_progress is not None
    assert attempt.first_progress.data == {"done": 1}
    assert attempt.checkpoint is not None
    assert attempt.checkpoint.data == {"step": 10}
    assert folded.reason == "time limit"
    assert folded.result is None


def test_a_chain_keeps_its_last_events_of_a_kind() -> None:
    records = [
        make_record(
            "command-1", n, "chain.planned", chain="base", stage=None, attempt=None, wall_s=9.0 - n, data={"n": n}
        )
        for n in range(3)
    ]
    latest = fold(*records).chains["base"].latest("chain.planned")
    assert latest is not None
    assert latest.data == {"n": 2}
    assert fold(*records).chains["base"].latest("chain.cancelled") is None


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"data": []},
        {"sequence": "1"},
        {"wall_s": None},
        {"attempt": "1"},
        {"stage": ["x"]},
        {"job": 7},
        {"writer": None},
        {"kind": 1},
        {"chain": {}},
    ],
)
def test_what_another_version_wrote_is_counted_not_folded(change: dict[str, Any]) -> None:
    state = fold(cast("Record", make_record() | change))
    assert state.foreign == 1
    assert not state.stages
    state.add(cast("list[Record]", [[], "text", {}]))
    assert state.foreign == 4
