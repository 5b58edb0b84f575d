import time

import pytest

from detour.ledger.attempt import Attempt
from detour.ledger.events import AttemptStarted, CheckpointSaved
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from tests.ledger.lines import all_records


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def progress_of(workspace: Workspace) -> list[dict[str, object]]:
    return [record["data"] for record in all_records(workspace) if record["kind"] == "progress"]


def test_events_carry_their_attempt(workspace: Workspace) -> None:
    with Journal.open(workspace, "job") as journal:
        attempt = Attempt(journal, stage="pretrain-1", chain="c", job="7", number=3)
        attempt.event(CheckpointSaved(step=5, tokens=50))
    record = all_records(workspace)[1]
    assert record["stage"] == "pretrain-1"
    assert record["chain"] == "c"
    assert record["job"] == "7"
    assert record["attempt"] == 3
    assert record["data"] == {"step": 5, "tokens": 50}


def test_progress_is_thinned_and_the_last_value_reported(workspace: Workspace, clock: Clock) -> None:
    with Journal.open(workspace, "job") as journal:
        attempt = Attempt(journal, number=1)
        for step in range(10 * 3600 * 2):
            attempt.progress(step, 10**9, "tokens", loss=1.0)
            clock.now_s += 0.5
        attempt.event(CheckpointSaved(step=step, tokens=step))
        attempt.progress(10**9, 10**9, "tokens", loss=0.5)
    shown = progress_of(workspace)
    assert 1_500 < len(shown) < 3_000
    assert [data["done"] for data in shown][:3] == [0, 2, 4]
    assert [data["done"] for data in shown][-2:] == [step, 10**9]
    assert all_records(workspace)[-3]["kind"] == "checkpoint.saved"


def test_a_rare_figure_and_a_change_of_unit_are_reported_at_once(workspace: Workspace, clock: Clock) -> None:
    with Journal.open(workspace, "job") as journal:
        attempt = Attempt(journal, number=1)
        attempt.progress(1, 9, "documents")
        attempt.progress(2, 9, "documents")
        attempt.progress(1, 9, "tokens", loss=3.0)
        attempt.progress(2, 9, "tokens", loss=2.0)
        attempt.progress(3, 9, "tokens", loss=2.0, validation_loss=2.5)
        attempt.progress(4, 9, "tokens", loss=2.0)
    shown = [(data["done"], data["unit"]) for data in progress_of(workspace)]
    assert shown == [(1, "documents"), (2, "documents"), (1, "tokens"), (3, "tokens")]
    assert clock.now_s == 1000.0


def test_the_first_stop_reason_is_kept() -> None:
    attempt = Attempt()
    assert attempt.stop_reason is None
    attempt.request_stop("time limit")
    attempt.request_stop("preempted")
    assert attempt.stop_reason == "time limit"


def test_a_silent_attempt_writes_nothing(workspace: Workspace) -> None:
    attempt = Attempt(number=1)
    attempt.event(AttemptStarted())
    attempt.progress(1, 2, "steps", loss=1.0)
    assert all_records(workspace) == []
