"""From an attempt's events, through the real fold, to its hours, fates and energy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.energy import Method
from detour.accounting.fates import fates_s
from detour.accounting.hours import AttemptUsage
from detour.ledger.record import Record, entry_of
from detour.ledger.state import AttemptState, State
from detour.site import Site, Sourced

STAGE = "pretrain-0123456789abcdef"
SITE = Site("here", Sourced(1.2, "test"), Sourced(34.0, "test"), Sourced(700.0, "test"), Sourced(4.0, "test"))
HELD = {"gpus": 4, "cpus": 96, "ram_gb": 512.0, "nodes": 1, "cluster": "jean-zay", "node": "n1"}
Events = list[tuple[float, str, dict[str, Any]]]
KILLED: Events = [
    (0, "attempt.started", HELD),
    (100, "progress", {"done": 1, "total": 10, "unit": "tokens", "figures": {}}),
    (200, "energy", {"energy_kwh": 0.2, "gpu_kwh": 0.2, "duration_s": 200.0}),
    (400, "checkpoint.saved", {"step": 4, "tokens": 4}),
    (400, "energy", {"energy_kwh": 0.4, "gpu_kwh": 0.4, "duration_s": 400.0}),
    (500, "attempt.heartbeat", {}),
]
EPOCH_S = 1_700_000_000.0


def attempt_of(events: Events) -> AttemptState:
    """The wall clock jumps by an hour after the start, as after a late time sync; the monotonic clock is right."""
    records: list[Record] = [
        {
            "schema": 1,
            "wall_s": EPOCH_S + at_s + (3600.0 if at_s else 0.0),
            "mono_s": float(at_s),
            "writer": "w",
            "sequence": sequence,
            "kind": kind,
            "chain": None,
            "stage": STAGE,
            "job": "77",
            "attempt": 1,
            "data": data,
        }
        for sequence, (at_s, kind, data) in enumerate(events)
    ]
    state = State()
    state.add(filter(None, map(entry_of, records)))
    (attempt,) = state.stages[STAGE].attempts
    return attempt


def usage(events: Events, now_s: float = EPOCH_S + 1e6) -> AttemptUsage:
    found = usage_of(STAGE, attempt_of(events), now_s)
    assert found is not None
    return found


def test_a_killed_attempt_ends_at_its_last_event_by_its_own_clock() -> None:
    killed = usage(KILLED)
    assert killed.allocated_s == 500.0
    assert killed.open_ended
    assert not killed.running
    assert killed.gpus == 4
    fates = fates_s(killed)
    assert fates.startup == 100.0
    assert fates.useful == 300.0
    assert fates.redone == 100.0


def test_an_attempt_with_a_recent_event_is_running() -> None:
    running = usage(KILLED, now_s=EPOCH_S + 3600.0 + 550.0)
    assert running.running
    assert fates_s(running).redone == 0.0


def test_an_attempt_without_slurm_lacks_no_accounts_of_it() -> None:
    """Its command was killed, and left no account of its own."""
    local = replace(attempt_of(KILLED), executor="process-77")
    assert Method.SLURM not in [figure.method for figure in figures_of(local, usage(KILLED), SITE)]


def test_methods_are_listed_separately_and_flushes_not_summed() -> None:
    figures = figures_of(attempt_of(KILLED), usage(KILLED), SITE)
    measured, codecarbon, estimate, slurm, card = figures
    methods = [Method.MEASURED, Method.CODECARBON, Method.ESTIMATED, Method.SLURM, Method.CARD]
    assert [figure.method for figure in figures] == methods
    assert measured.missing == "no energy counter was read"
    assert slurm.missing == "sacct was not read"
    assert estimate.coverage == 1.0
    assert codecarbon.it_energy_kwh is not None
    assert codecarbon.it_energy_kwh.expected == pytest.approx(0.5)
    assert codecarbon.extended_s == pytest.approx(100.0)
    assert card.co2_g is not None
    assert card.co2_g.expected == pytest.approx(4 * 500 / 3600 * 0.7 * 1.2 * 34)


@pytest.mark.parametrize(
    ("outcome", "useful", "lost", "failed"),
    [("done", 500.0, 0.0, 0.0), ("interrupted", 300.0, 200.0, 0.0), ("failed", 300.0, 0.0, 200.0)],
)
def test_the_outcome_decides_the_fate_of_unsaved_time(outcome: str, useful: float, lost: float, failed: float) -> None:
    fates = fates_s(usage([*KILLED, (600, "attempt.ended", {"outcome": outcome})]))
    assert fates.useful == useful
    assert fates.redone == lost
    assert fates.failed == failed


def test_a_finished_short_stage_without_progress_was_useful() -> None:
    events: Events = [(0.0, "attempt.started", HELD), (3.0, "attempt.ended", {"outcome": "done"})]
    assert fates_s(usage(events)).useful == 3.0


def test_figures_that_were_not_recorded_are_unknown() -> None:
    assert usage([(0.0, "attempt.started", {}), (1.0, "attempt.heartbeat", {})]).gpus is None
    assert usage_of(STAGE, attempt_of([(1.0, "attempt.heartbeat", {})]), EPOCH_S) is None


def test_nonsense_in_a_record_is_unknown_and_no_error() -> None:
    held = {"gpus": -4, "cpus": -1, "nodes": None, "ram_gb": -1.0, "cluster": None}
    nonsense: Events = [
        (0.0, "attempt.started", held),
        (5.0, "energy", {"energy_kwh": -1.0, "duration_s": None}),
        (9.0, "attempt.ended", {"outcome": "done"}),
    ]
    found = usage(nonsense)
    assert found.gpus is None
    assert found.cpus is None
    assert found.nodes == 1
    assert found.ram_gb is None
    figures = figures_of(attempt_of(nonsense), found, SITE)
    assert [figure.it_energy_kwh for figure in figures] == [None] * 5
    assert all(figure.missing for figure in figures)


def slice_usage(started: dict[str, Any], run: dict[str, Any] | None) -> AttemptUsage:
    """An hour on a slice (MIG), according to journal and sacct."""
    events: Events = [(0, "attempt.started", {**HELD, "gpus": None, **started}), (3600, "attempt.heartbeat", {})]
    if run is not None:
        accounted = {"source": "sacct", "start_s": EPOCH_S, "elapsed_s": 3600.0, "cpus": 8, "nodes": 1, **run}
        events.append((3600, "job.accounted", accounted))
    return usage(events)


@pytest.mark.parametrize(
    ("started", "run", "boards"),
    [
        ({"slices": 1, "boards": 1 / 7}, None, 1 / 7),
        ({"slices": 1, "boards": 1 / 7}, {"gpus": 1}, 1 / 7),
        ({"slices": 1}, {"gpus": 1}, None),
        ({"slices": 1}, {"gpus": 1, "boards": 1 / 7}, 1 / 7),
        ({}, {"gpus": 1, "boards": 1 / 7}, 1 / 7),
        ({}, {"gpus": None}, None),
        ({"gpus": 4}, {"gpus": 4}, 4),
    ],
)
def test_a_slice_counts_as_its_share_of_a_board(
    started: dict[str, Any], run: dict[str, Any] | None, boards: float | None
) -> None:
    held = slice_usage(started, run)
    assert held.gpus == boards
    by_card = figures_of(attempt_of([(0, "attempt.started", {})]), held, SITE)[-1].it_energy_kwh
    assert (by_card and by_card.expected) == (None if boards is None else pytest.approx(0.7 * boards))


def test_the_fates_of_concurrent_attempts_keep_their_proportions() -> None:
    """Two seeds for an hour on one GPU, each ready after 20 minutes; the job began 2 minutes before and ended after."""
    progress: dict[str, Any] = {"done": 1, "total": 2, "unit": "steps", "figures": {}}
    job = {"source": "sacct", "start_s": EPOCH_S, "elapsed_s": 3720.0, "state": "COMPLETED", "gpus": 1}
    seeds = ("evaluate-1", "evaluate-2")
    events: list[tuple[str, str | None, float, str, dict[str, Any]]] = [
        ("w", None, 3720.0, "job.accounted", {**job, "stages": list(seeds)})
    ]
    for seed in seeds:
        events += [
            (seed, seed, 60.0, "attempt.started", {"gpus": 1}),
            (seed, seed, 1260.0, "progress", progress),
            (seed, seed, 3660.0, "attempt.ended", {"outcome": "done", "exit_code": 0, "elapsed_s": 3600.0}),
        ]
    state = State()
    for sequence, (writer, stage, at_s, kind, data) in enumerate(events):
        place = {"stage": stage, "job": "7", "attempt": 1 if stage else None, "chain": None}
        order = {"wall_s": EPOCH_S + at_s, "mono_s": at_s, "writer": writer, "sequence": sequence}
        entry = entry_of({"schema": 1, "kind": kind, "data": data, **place, **order})
        assert entry is not None
        state.add([entry])
    for seed in seeds:
        (attempt,) = state.stages[seed].attempts
        found = usage_of(seed, attempt, EPOCH_S + 1e6)
        assert found is not None
        assert fates_s(found) == pytest.approx((1200.0, 600.0, 0.0, 0.0, 60.0))
