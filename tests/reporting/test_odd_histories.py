"""Hours of odd histories, counted again by hand: clock changes, months, requeues, slices, equal ids, wrong clocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from detour.accounting.fates import Known
from detour.ledger.workspace import Workspace
from detour.planning.files import Target, write_plan
from detour.planning.plan import Plan
from detour.rendering.cost_tables import ByName, by_stage
from detour.rendering.statements import methods_sentence
from detour.rendering.words import cost_in_words
from detour.reporting.build import Question, build_report
from detour.reporting.period import Period, period_of
from detour.reporting.report import Report
from tests.reporting.worked import CLUSTER, SITE, site_of
from tests.support.past import Past
from tests.support.stages import make_stages

ZONE, HOUR_S = ZoneInfo("Europe/Paris"), 3600.0
PERIODS = ("2026-10", "2026-10-25", "2026-11")


@dataclass(frozen=True)
class Run:
    """What a job really held; its node's clock is `ahead_s` ahead."""

    kind: str
    place: int
    job: str
    start_s: float
    hours: float
    gpus: float | None
    number: int = 1
    suspended: float = 0.0
    """Share of its time."""
    ahead_s: float = 0.0
    outcome: str = "done"
    chain: str = "first"
    cluster: str = CLUSTER
    is_accounted: bool = True
    is_begun: bool = True
    """Whether an attempt recorded anything."""

    def gpu_hours(self, since_s: float = 0.0, until_s: float = 1e12) -> float:
        end_s = self.start_s + self.hours * HOUR_S
        seconds = max(0.0, min(end_s, until_s) - max(self.start_s, since_s))
        return (self.gpus or 0.0) * seconds * (1 - self.suspended) / HOUR_S


def at(*when: int) -> float:
    return datetime(*when, tzinfo=ZONE).timestamp()  # type: ignore[misc,arg-type]


RUNS = (
    Run("prepare", 0, "1", at(2026, 10, 1, 23), 2.0, 0),
    Run("pretrain", 0, "2", at(2026, 10, 24, 20), 2.0, 4, outcome="interrupted"),
    Run("pretrain", 0, "2", at(2026, 10, 24, 22, 30), 0.1, 4, is_begun=False),
    Run("pretrain", 0, "2", at(2026, 10, 24, 23), 7.0, 4, number=2),
    Run("evaluate", 0, "3_0", at(2026, 10, 31, 22), 3.0, 1, suspended=0.5),
    Run("evaluate", 1, "3_1", at(2026, 10, 31, 22), 1.5, 3 / 7),
    Run("pretrain", 1, "4", at(2026, 11, 1, 10), 2.5, 8),
    Run("pretrain", 1, "4", at(2026, 11, 1, 11), 3.0, 2, chain="second", cluster="adastra", is_accounted=False),
    Run("evaluate", 0, "5", at(2026, 11, 2, 10), 0.25, 1, ahead_s=-30.0, chain="second"),
    Run("export", 0, "8", at(2026, 11, 2, 12), 0.5, None, is_accounted=False),
    Run("evaluate", 1, "6", at(2026, 11, 2, 10), 0.25, 1, ahead_s=45.0, chain="second", outcome="failed"),
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("odd"))
    workspace.create()
    past = Past(workspace)
    chains = {"first": 60_000, "second": 120_000}
    for chain, tokens in chains.items():
        stages = make_stages({"phases.1.tokens": tokens, "benchmark.seeds": [1, 2]})
        write_plan(workspace, Plan(chain, stages), Target(CLUSTER, SITE))
        for run in RUNS:
            if run.chain == chain:
                _write(past, run, [stage.id for stage in stages if stage.kind == run.kind][run.place])
    cancelled = {"source": "sacct", "elapsed_s": 0.0, "state": "CANCELLED", "cpus": 96, "stages": ["evaluate-x"]}
    past.add("job.accounted", at(2026, 11, 2), cancelled, job="7")
    past.write()
    return workspace


def _write(past: Past, run: Run, stage: str) -> None:
    held_s, is_slice = run.hours * HOUR_S, run.gpus == 3 / 7
    gpus: dict[str, Any] = {"gpus": None if is_slice else run.gpus} | ({"boards": run.gpus} if is_slice else {})
    if run.is_begun:
        slices = {"slices": 1} if is_slice else {}
        start_s, lasted_s = run.start_s + run.ahead_s, held_s
        if run.is_accounted:
            start_s, lasted_s = start_s + 2, held_s - 4
        past.attempt(
            stage,
            start_s,
            lasted_s,
            number=run.number,
            outcome=run.outcome,
            job=run.job,
            cpus=8,
            cluster=run.cluster,
            **gpus,
            **slices,
        )
    if run.is_accounted:
        account: dict[str, Any] = {
            "source": "sacct",
            "profile": run.cluster,
            "start_s": run.start_s,
            "elapsed_s": held_s * (1 - run.suspended),
            "cpus": 8,
        }
        end = {"end_s": run.start_s + held_s} if run.suspended else {}
        past.add("job.accounted", at(2026, 11, 3), {**account, **gpus, **end, "stages": [stage]}, job=run.job)


def report_of(workspace: Workspace, period: Period) -> Report:
    return build_report(workspace, Question(period=period), site_of, at(2026, 11, 4))


def used(runs: Sequence[Run], period: Period) -> float:
    return sum(run.gpu_hours(period.since_s or 0.0, period.until_s or 1e12) for run in runs)


@pytest.mark.parametrize("written", [None, *PERIODS])
def test_hours_of_all_chains_and_of_each_equal_those_worked_out_by_hand(
    workspace: Workspace, written: str | None
) -> None:
    period = period_of(written, None, None, 0.0, ZONE.key)
    report = report_of(workspace, period)
    assert report.total.gpu_hours.value == pytest.approx(used(RUNS, period))
    assert report.total.fates_gpu_hours.allocated == pytest.approx(used(RUNS, period))
    shared = [run for run in RUNS if (run.kind, run.place) in {("prepare", 0), ("pretrain", 0)}]
    for chain in report.chains:
        own = [run for run in RUNS if run.chain == chain.name and run not in shared]
        assert chain.cost.gpu_hours.value == pytest.approx(used([*shared, *own], period))


def test_each_run_is_one_attempt(workspace: Workspace) -> None:
    report = report_of(workspace, Period(time_zone=ZONE.key))
    rows = [row for stage in report.stages.values() for row in stage.attempts]
    assert sorted((row.job, row.started_s) for row in rows) == sorted((run.job, run.start_s) for run in RUNS)


def test_a_stage_with_an_unknown_number_of_gpus_has_unknown_hours_rather_than_0(workspace: Workspace) -> None:
    report = report_of(workspace, Period())
    assert report.total.gpu_hours.unknown == 1
    (row,) = (row for row in by_stage(report).rows if isinstance(row, ByName) and row.name == "export")
    assert row.gpu_hours == Known(None, 1)


def test_the_energy_of_two_sites_is_given_by_site(workspace: Workspace) -> None:
    report = report_of(workspace, Period())
    assert {row.site.name for row in report.total.energy} == {CLUSTER, "adastra"}
    assert "energy by site" in cost_in_words(report.total, None)
    assert "Its energy is given by site in the report." in methods_sentence(report)


def days() -> Iterator[date]:
    yield from (date(2026, 10, 1) + timedelta(days=number) for number in range(35))


def test_days_around_a_clock_change_add_up_to_the_whole(workspace: Workspace) -> None:
    period = period_of(None, "2026-10-20", None, 0.0, ZONE.key)
    rows = {row.period: row.gpu_hours.value for row in report_of(workspace, period).by_period}
    for day in days():
        after = day + timedelta(days=1)
        expected = used(RUNS, Period(at(day.year, day.month, day.day), at(after.year, after.month, after.day)))
        if day.isoformat() in rows:
            assert rows[day.isoformat()] == pytest.approx(expected)
    assert sum(value or 0.0 for value in rows.values()) == pytest.approx(used(RUNS, period))
    assert rows["2026-10-25"] == pytest.approx(4 * 6.0)
