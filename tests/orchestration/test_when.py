"""When to start, compared with the expected start in the queue."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

import detour
from detour.config.loading import load_cluster
from detour.errors import UserError
from detour.forecasting.own_history import History
from detour.forecasting.waits import Wait, shape_of
from detour.ledger.state import State
from detour.ledger.workspace import Workspace
from detour.orchestration import when
from detour.orchestration.when import when_to_start
from detour.pricing.limits import stage_limit_s
from detour.pricing.plan_price import price_in
from detour.pricing.when import StartTimes

NOW_S = 1_772_323_200.0
DAY_S = 86_400.0


def ask(workspace: Workspace, folder: Path, waits_s: float | None, monkeypatch: pytest.MonkeyPatch) -> StartTimes:
    """Ask with a history of twelve days, one job of the plan's shape a day with this wait, or without sacct."""
    cluster, planned = load_cluster("jean-zay"), detour.plan("moderncamembert-bio-base")
    stages = list(planned.shared.stages.values())
    price = price_in(workspace, State(), stages, cluster, None)
    training = next(stage for stage in stages if stage.kind == "pretrain")
    of_training = price.prices[training.id]
    shape = shape_of(of_training.gpus, stage_limit_s(training, of_training))
    begun = [NOW_S - DAY_S * day for day in range(13, 1, -1)]
    waits = tuple(Wait(str(at_s), "xyz@h100", shape, at_s, at_s + (waits_s or 0.0)) for at_s in begun)
    monkeypatch.setattr(when, "read_history", lambda *_: History(NOW_S, waits))
    monkeypatch.setattr("shutil.which", lambda _: None if waits_s is None else "/usr/bin/sacct")
    factors = folder / "factors.csv"
    hours = (f"{datetime.fromtimestamp(NOW_S + 3600 * hour, UTC).isoformat()},{20 + hour}" for hour in range(48))
    factors.write_text("hour,g_per_kwh\n" + "\n".join(hours))
    return when_to_start(workspace, planned, stages, price, factors, NOW_S)


def test_a_plan_that_is_not_queued_starts_after_the_usual_wait_of_its_shape(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ask(workspace, tmp_path, 7200.0, monkeypatch)
    assert found.expected_by == "usual wait"
    assert found.expected is not None
    assert found.expected.at_s == pytest.approx(NOW_S + 7200.0)
    assert found.starts[0].co2_g.expected < found.expected.co2_g.expected < found.most.co2_g.expected


def test_without_sacct_nothing_is_said_about_the_queue(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ask(workspace, tmp_path, None, monkeypatch)
    assert (found.expected, found.expected_by) == (None, None)
    assert found.least is found.starts[0]


def test_a_missing_file_is_named(workspace: Workspace, tmp_path: Path) -> None:
    planned = detour.plan("moderncamembert-bio-base")
    stages = list(planned.shared.stages.values())
    price = price_in(workspace, State(), stages, load_cluster("jean-zay"), None)
    with pytest.raises(UserError, match=r"gone\.csv: cannot be read as a file of hourly factors"):
        when_to_start(workspace, planned, stages, price, tmp_path / "gone.csv", NOW_S)
