from typing import Any

import pytest

from detour.accounting.attempts import DEAD_AFTER_S
from detour.ledger.process import Process
from detour.ledger.record import Record
from detour.ledger.state import StageStatus, State
from detour.monitoring.liveness import Evidence, Marker, stage_status
from detour.monitoring.seen import SeenJob
from detour.scheduler.states import parse_state

HERE = Process.current()
DEAD_HERE = HERE._replace(start_ticks=1)
ELSEWHERE = HERE._replace(host="node7", boot="another")
NOW_S = 10_000.0
LATELY_S, LONG_AGO_S = NOW_S - 30, NOW_S - DEAD_AFTER_S - 60


def record(sequence: int, kind: str, wall_s: float, attempt: int | None, **data: Any) -> Record:
    return {
        "schema": 1,
        "wall_s": wall_s,
        "mono_s": wall_s,
        "writer": "w",
        "sequence": sequence,
        "kind": kind,
        "chain": None,
        "stage": None if kind == "journal.opened" else "s",
        "job": None if kind == "journal.opened" else "7",
        "attempt": attempt,
        "data": data,
    }


def status(
    process: Process,
    events: list[tuple[str, dict[str, Any]]],
    seen_s: float,
    jobs: dict[str, str],
    marker: Marker | None = None,
) -> StageStatus:
    state = State()
    state.add([record(0, "journal.opened", seen_s, None, **process.to_json())])
    for sequence, (kind, data) in enumerate(events, start=1):
        state.add([record(sequence, kind, seen_s, None if kind.startswith(("submit", "cancel")) else 1, **data)])
    seen = {job: SeenJob(job, word, parse_state(word).standing.value) for job, word in jobs.items()}
    return stage_status(state.stages.get("s"), marker, Evidence(NOW_S, state.writers, seen))


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
        (ELSEWHERE, LONG_AGO_S, "CANCELLED by 1000", "interrupted"),
        (ELSEWHERE, LONG_AGO_S, "NODE_FAIL", "interrupted"),
        (ELSEWHERE, LONG_AGO_S, "COMPLETED", "interrupted"),
    ],
)
def test_an_attempt_without_an_end(process: Process, seen_s: float, job: str, expected: str) -> None:
    assert status(process, [("attempt.started", {})], seen_s, {"7": job} if job else {}) == expected


ENDED = [("attempt.started", {}), ("attempt.ended", {"outcome": "interrupted"})]
FAILED = [("attempt.started", {}), ("attempt.ended", {"outcome": "failed"})]
FAILED_FOR_GOOD = [("stage.failed", {"reason": "NaN"}), *FAILED]


@pytest.mark.parametrize(
    ("events", "job", "marker", "expected"),
    [
        ([], "", None, "planned"),
        ([], "", "done", "done"),
        ([("submit.recorded", {})], "", None, "submitted"),
        ([("submit.recorded", {})], "RUNNING", None, "running"),
        ([("submit.recorded", {})], "FAILED", None, "failed"),
        ([("submit.recorded", {})], "OUT_OF_MEMORY", None, "failed"),
        ([("submit.recorded", {})], "NODE_FAIL", None, "interrupted"),
        ([("submit.recorded", {})], "CANCELLED by 1000", None, "cancelled"),
        ([("submit.recorded", {})], "COMPLETED", None, "unknown"),
        ([("submit.recorded", {})], "a state of a later Slurm", None, "submitted"),
        ([("submit.recorded", {}), ("cancel.stage", {})], "", None, "planned"),
        (ENDED, "", None, "interrupted"),
        (FAILED, "", None, "failed"),
        (FAILED_FOR_GOOD, "", "failed", "failed"),
        (FAILED_FOR_GOOD, "", None, "interrupted"),
        (FAILED_FOR_GOOD, "", "done", "done"),
        ([("stage.done", {})], "", "done", "done"),
        ([("stage.done", {})], "", None, "planned"),
        ([("submit.recorded", {}), *ENDED], "PENDING", None, "submitted"),
    ],
)
def test_markers_then_events_then_the_scheduler(
    events: list[tuple[str, dict[str, Any]]], job: str, marker: Marker | None, expected: str
) -> None:
    assert status(ELSEWHERE, events, LATELY_S, {"7": job} if job else {}, marker) == expected
