import pytest

from detour.accounting.attempts import DEAD_AFTER_S
from detour.ledger.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    JournalOpened,
    StageCancelled,
    StageDone,
    StageFailed,
    StageSubmitted,
)
from detour.ledger.process import Process
from detour.ledger.record import Entry
from detour.ledger.state import StageStatus, State
from detour.monitoring.liveness import Marker, StatusEvidence, stage_status
from detour.monitoring.queries import SeenJob
from detour.scheduler.states import parse_state

HERE = Process.current()
DEAD_HERE = HERE._replace(start_ticks=1)
ELSEWHERE = HERE._replace(host="node7", boot="another")
NOW_S = 10_000.0
LATELY_S, LONG_AGO_S = NOW_S - 30, NOW_S - DEAD_AFTER_S - 60


def status(
    process: Process,
    events: list[Event],
    seen_s: float,
    jobs: dict[str, str],
    marker: Marker | None = None,
    reported_s: float = 0.0,
) -> StageStatus:
    state = State()
    state.add([Entry(0, "w", seen_s, seen_s, JournalOpened(**process._asdict()))])
    for sequence, event in enumerate(events, start=1):
        attempt = None if isinstance(event, StageSubmitted | StageCancelled) else 1
        state.add([Entry(sequence, "w", seen_s, seen_s, event, stage="s", job="7", attempt=attempt)])
    seen = {job: SeenJob(job, word, parse_state(word).standing.value, seen_s=reported_s) for job, word in jobs.items()}
    return stage_status(state.stage("s"), marker, StatusEvidence(NOW_S, state.writers, seen))


@pytest.mark.parametrize(
    ("process", "seen_s", "job", "expected"),
    [
        (HERE, LONG_AGO_S, "", "running"),
        (HERE, LONG_AGO_S, "PENDING", "running"),
        (DEAD_HERE, LATELY_S, "", "interrupted"),
        (DEAD_HERE, LATELY_S, "RUNNING", "interrupted"),
        (ELSEWHERE, LATELY_S, "", "running"),
        (ELSEWHERE, LATELY_S, "PENDING", "running"),
        (ELSEWHERE, LONG_AGO_S, "", "unknown"),
        (ELSEWHERE, LONG_AGO_S, "nonsense", "unknown"),
        (ELSEWHERE, LONG_AGO_S, "RUNNING", "running"),
        (ELSEWHERE, LONG_AGO_S, "PENDING", "submitted"),
        (ELSEWHERE, LONG_AGO_S, "CANCELLED by 1000", "cancelled"),
        (DEAD_HERE, LATELY_S, "CANCELLED by 1000", "cancelled"),
        (ELSEWHERE, LONG_AGO_S, "NODE_FAIL", "interrupted"),
        (ELSEWHERE, LONG_AGO_S, "COMPLETED", "interrupted"),
    ],
)
def test_the_state_of_an_attempt_without_an_end_follows_events_and_slurm(
    process: Process, seen_s: float, job: str, expected: str
) -> None:
    assert status(process, [AttemptStarted()], seen_s, {"7": job} if job else {}) == expected


ENDED = [AttemptStarted(), AttemptEnded(outcome="interrupted")]
FAILED = [AttemptStarted(), AttemptEnded(outcome="failed")]
FAILED_FOR_GOOD = [StageFailed(reason="NaN"), *FAILED]


@pytest.mark.parametrize(
    ("events", "job", "marker", "expected"),
    [
        ([], "", None, "planned"),
        ([], "", "done", "done"),
        ([StageSubmitted()], "", None, "submitted"),
        ([StageSubmitted()], "RUNNING", None, "running"),
        ([StageSubmitted()], "FAILED", None, "failed"),
        ([StageSubmitted()], "OUT_OF_MEMORY", None, "failed"),
        ([StageSubmitted()], "NODE_FAIL", None, "interrupted"),
        ([StageSubmitted()], "CANCELLED by 1000", None, "cancelled"),
        ([StageSubmitted()], "COMPLETED", None, "unknown"),
        ([StageSubmitted()], "a state of a later Slurm", None, "submitted"),
        ([StageSubmitted(), StageCancelled()], "", None, "cancelled"),
        (ENDED, "", None, "interrupted"),
        (ENDED, "CANCELLED by 1000", None, "cancelled"),
        (FAILED, "", None, "failed"),
        (FAILED_FOR_GOOD, "", "failed", "failed"),
        (FAILED_FOR_GOOD, "", None, "interrupted"),
        (FAILED_FOR_GOOD, "", "done", "done"),
        ([StageDone()], "", "done", "done"),
        ([StageDone()], "", None, "planned"),
        ([StageSubmitted(), *ENDED], "PENDING", None, "submitted"),
    ],
)
def test_markers_outrank_events_and_events_outrank_slurm(
    events: list[Event], job: str, marker: Marker | None, expected: str
) -> None:
    assert status(ELSEWHERE, events, LATELY_S, {"7": job} if job else {}, marker, NOW_S) == expected


@pytest.mark.parametrize("job", ["PENDING", "RUNNING"])
def test_a_report_of_slurm_from_before_the_end_of_an_attempt_is_outdated(job: str) -> None:
    """A job that was held or running when the queue was last read, and has started and saved since."""
    ended: list[Event] = [StageSubmitted(), AttemptStarted(), AttemptEnded(outcome="interrupted", exit_code=85)]
    assert status(ELSEWHERE, ended, LATELY_S, {"7": job}, reported_s=LATELY_S - 1) == "interrupted"
    assert status(ELSEWHERE, ended, LATELY_S, {"7": job}, reported_s=LATELY_S + 1) != "interrupted"
