"""Stages of a sweep's chains, which have the same labels, told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

import detour
from detour.config.loading import load_cluster
from detour.forecasting.chain_forecast import Outlook
from detour.forecasting.own_history import History
from detour.launch.text.forecast import forecasts_lines
from detour.launch.text.submission import submitted_lines
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.orchestration.chain_files import write_chains
from detour.orchestration.forecasts import ChainForecast, Forecasts, StageForecast
from detour.orchestration.order import Order, order_for
from detour.orchestration.plans import Planned
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import Submitted
from detour.scheduler.submission import Submission
from detour.scheduler.tags import Slot

SWEEP = "quickstart-sweep"


@pytest.fixture(scope="module")
def planned() -> Planned:
    return detour.plan(SWEEP)


def order_of(workspace: Workspace, planned: Planned) -> Order:
    return order_for(workspace, planned, load_cluster("slurm-local"), JobOptions())


def test_each_job_of_a_sweep_names_its_chains(planned: Planned, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    order = order_of(workspace, planned)
    jobs = {Slot(request.unit, 1): str(number) for number, request in enumerate(order.requests, start=1)}
    limits_s = {Slot(request.unit, 1): request.wall_s for request in order.requests}
    sent = Submitted(order, Submission(jobs, (), (), (), order.requests, limits_s))
    lines = list(submitted_lines(sent, workspace, 80))[:-1]
    assert max(map(len, "\n".join(lines).splitlines())) <= 80
    text = " ".join(" ".join(lines).split())
    assert "prepare job 1, time limit 4h00m, for all 4 chains" in text
    assert "promote mlm x2 job 6 (2 tasks), time limit 10m00s, for quickstart-clm-decay-30k, quickstart-mlm" in text
    assert "promote mlm x2 job 7 (2 tasks), time limit 10m00s, for quickstart-clm-decay-60k, quickstart-mlm" in text
    assert "evaluate icd10-chapters x2 job 10, 11, 12 (2 tasks each), time" in text
    assert text.count("evaluate icd10-chapters x2 job") == 2, "one line for the seeds of the same chains"


def test_the_jobs_of_a_single_chain_do_not_repeat_its_name(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    order = order_of(workspace, detour.plan("quickstart"))
    jobs = {Slot(request.unit, 1): "7" for request in order.requests}
    first, *_ = submitted_lines(Submitted(order, Submission(jobs, (), (), (), order.requests)), workspace, 100)
    assert first.startswith("prepare")
    assert "quickstart" not in first


def test_a_forecast_shows_shared_stages_once(planned: Planned, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    write_chains(workspace, planned.plans, load_cluster("slurm-local"), sweep=SWEEP)
    status = monitor(workspace, offline=True).look()
    outlook = Outlook(None, None, None, 0, "not submitted")
    chains = tuple(
        ChainForecast(chain.name, tuple(StageForecast(row, outlook, 0.0, "history") for row in chain.stages))
        for chain in status.chains
    )
    lines = list(forecasts_lines(Forecasts(0.0, chains, (History(0.0, ()),), None, ())))
    text = "\n".join(lines)
    assert text.count("prepare") == text.count("pretrain clm") == text.count("promote mlm-30") == 1
    assert "Shared by quickstart-clm-decay-30k, quickstart-clm-decay-60k:\n  pretrain clm, promote clm: not" in text
    assert "quickstart-mlm-decay-60k\n  pretrain mlm, promote mlm, export and 4 more: not submitted" in text
    assert max(map(len, lines)) <= 80
