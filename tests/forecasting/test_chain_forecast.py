"""Starts and ends along a chain, computed by hand."""

from __future__ import annotations

from detour.forecasting.chain_forecast import Pair, PendingStage, look_ahead
from detour.forecasting.forecaster import Expected, NoForecast
from detour.forecasting.waits import Shape

SHAPE = Shape(4, 3)
NOW = 1000.0


def wait(_stage: PendingStage, waited_s: float) -> Expected | NoForecast:
    return Expected(max(10.0, waited_s), max(50.0, waited_s), 40)


def none(_stage: PendingStage, _waited_s: float) -> Expected | NoForecast:
    return NoForecast("too little is known")


def test_a_stage_waits_for_its_inputs_and_then_for_its_turn() -> None:
    stages = [
        PendingStage("a", (), SHAPE, Pair(100, 120), begun_s=990.0),
        PendingStage("b", ("a", "done"), SHAPE, Pair(30, 40)),
    ]
    found = look_ahead(stages, wait, NOW)
    assert found["a"].start == Pair(1000, 1040)
    assert found["a"].end == Pair(1100, 1160)
    assert found["b"].start == Pair(1110, 1210)
    assert found["b"].end == Pair(1140, 1250)


def test_the_latest_of_several_inputs_decides_each_quantile() -> None:
    stages = [
        PendingStage("a", (), SHAPE, Pair(100, 100), started_s=900.0),
        PendingStage("b", (), SHAPE, Pair(90, 300), started_s=900.0),
        PendingStage("c", ("a", "b"), SHAPE, Pair(1, 1)),
    ]
    assert look_ahead(stages, wait, NOW)["c"].start == Pair(1110, 1350)


def test_work_beyond_a_time_limit_takes_further_jobs_that_also_wait() -> None:
    stage = PendingStage("a", (), SHAPE, Pair(250, 280), limit_s=100.0, started_s=900.0)
    assert look_ahead([stage], wait, NOW)["a"].end == Pair(1250 + 2 * 10, 1280 + 2 * 50)


def test_a_known_start_replaces_the_history() -> None:
    stage = PendingStage("a", (), SHAPE, Pair(1, 1), begun_s=900.0, start=Pair(980, 1500))
    assert look_ahead([stage], none, NOW)["a"].start == Pair(1000, 1500)


def test_an_unknown_duration_is_reported_and_its_dependents_have_no_forecast() -> None:
    stages = [PendingStage("a", (), SHAPE, None, begun_s=990.0), PendingStage("b", ("a",), SHAPE, Pair(1, 1))]
    found = look_ahead(stages, wait, NOW)
    assert (found["a"].start, found["a"].end, found["a"].reason) == (
        Pair(1000, 1040),
        None,
        "how long it takes is unknown",
    )
    assert found["b"].start is None
    assert found["b"].reason == "the end of a stage that it waits for is unknown"
    assert look_ahead([PendingStage("a", (), SHAPE, Pair(1, 1))], none, NOW)["a"].reason == "too little is known"
