"""From an attempt's events to its hours, fates and energy."""

from __future__ import annotations

from typing import Any

import pytest

from detour.accounting.attempts import AttemptLog, fold_attempts
from detour.accounting.energy import Method, Site, Sourced
from detour.accounting.hours import fates_s
from detour.ledger.record import Record

SITE = Site("here", Sourced(1.2, "test"), Sourced(34.0, "test"), Sourced(700.0, "test"), Sourced(4.0, "test"))
HELD: dict[str, Any] = {"gpus": 4, "cpus": 96, "ram_gb": 512.0, "nodes": 1, "cluster": "jean-zay", "node": "n1"}


def record(wall_s: float, kind: str, attempt: int | None = 1, stage: str | None = "pretrain-a", **data: Any) -> Record:
    return {
        "schema": 1,
        "wall_s": wall_s,
        "mono_s": wall_s,
        "writer": "w",
        "sequence": int(wall_s),
        "kind": kind,
        "chain": None,
        "stage": stage,
        "job": "77",
        "attempt": attempt,
        "data": data,
    }


def killed_attempt() -> AttemptLog:
    """Started at 0, first step at 100, checkpoint at 400, last heartbeat at 500, then SIGKILL."""
    events = [
        record(0, "attempt.started", **HELD),
        record(100, "progress", done=1, total=10, unit="tokens", figures={}),
        record(400, "checkpoint.saved", step=4, tokens=4),
        record(400, "energy", energy_kwh=0.4, gpu_kwh=0.4, duration_s=400.0, tool="codecarbon", version="3.3.2"),
        record(500, "attempt.heartbeat"),
    ]
    return fold_attempts(events)["pretrain-a", 1]


def test_a_killed_attempt_ends_at_its_last_sign_of_life() -> None:
    usage = killed_attempt().usage(now_s=10_000.0)
    assert (usage.allocated_s, usage.open_ended, usage.running) == (500.0, True, False)
    fates = fates_s(usage)
    assert (fates.startup, fates.useful, fates.redone) == (100.0, 300.0, 100.0)
    assert usage.gpus == 4


def test_a_recent_sign_of_life_means_running() -> None:
    usage = killed_attempt().usage(now_s=550.0)
    assert usage.running
    assert fates_s(usage).redone == 0.0


def test_three_methods_stand_side_by_side() -> None:
    codecarbon, estimate, card = killed_attempt().figures(SITE, now_s=10_000.0)
    assert [codecarbon.method, estimate.method, card.method] == [Method.CODECARBON, Method.ESTIMATED, Method.CARD]
    assert codecarbon.it_energy_kwh is not None
    assert codecarbon.it_energy_kwh.expected == pytest.approx(0.5)
    assert codecarbon.extended_s == pytest.approx(100.0)
    assert card.co2_g is not None
    assert card.co2_g.expected == pytest.approx(4 * 500 / 3600 * 0.7 * 1.2 * 34)


@pytest.mark.parametrize(
    ("outcome", "useful", "lost", "failed"),
    [("done", 500.0, 0.0, 0.0), ("interrupted", 300.0, 200.0, 0.0), ("failed", 300.0, 0.0, 200.0)],
)
def test_the_outcome_decides_the_fate_of_the_tail(outcome: str, useful: float, lost: float, failed: float) -> None:
    log = killed_attempt()
    log.add(record(600, "attempt.ended", outcome=outcome, exit_code=0, reason=None))
    fates = fates_s(log.usage(now_s=10_000.0))
    assert (fates.useful, fates.redone, fates.failed) == (useful, lost, failed)


def test_a_short_stage_without_progress_that_finished_was_useful() -> None:
    log = AttemptLog("export-a", 1)
    log.add(record(0, "attempt.started", **HELD))
    log.add(record(3, "attempt.ended", outcome="done"))
    assert fates_s(log.usage(now_s=10.0)).useful == 3.0


def test_attempts_are_kept_apart_and_other_events_passed_over() -> None:
    logs = fold_attempts(
        [
            record(0, "chain.planned", attempt=None, stage=None),
            record(1, "attempt.started", attempt=1),
            record(2, "attempt.started", attempt=2),
            record(3, "attempt.started", attempt=1, stage="export-b"),
        ]
    )
    assert sorted(logs) == [("export-b", 1), ("pretrain-a", 1), ("pretrain-a", 2)]
    assert logs["pretrain-a", 1].usage(5.0).gpus is None
