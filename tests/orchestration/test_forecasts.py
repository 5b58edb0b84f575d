"""Forecasts of a workspace's chains: made from sacct's history, recorded, and scored once the job has started."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from detour.errors import UserError
from detour.forecasting.forecaster import Expected, Forecaster
from detour.forecasting.own_history import read_history
from detour.forecasting.waits import HOUR_S, Wait, shape_of
from detour.ledger import cache
from detour.ledger.events import (
    AttemptStarted,
    ChainPriced,
    ForecastMade,
    ForecastScored,
    JobIntended,
    PriceQuoted,
    StageSubmitted,
)
from detour.ledger.journal import Journal, command_journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.orchestration.forecasts import forecast, forecast_submitted
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import QUEUE_FIELDS, SEPARATOR, USAGE_FIELDS, Slurm
from tests.housekeeping.workspaces import make_workspace

LIMIT_S = 20 * HOUR_S


@dataclass
class FakeSlurm:
    """A queue with job 7, pending, and a history of one burst a day that waited 1, 2, 3... hours."""

    now_s: float
    name: str = "abc"
    """The name of each job."""
    slowness: float = 1.0
    """Factor of all waits."""
    calls: list[str] = field(default_factory=list)

    def waits(self) -> list[Wait]:
        days = [(self.now_s - day * 24 * HOUR_S, self.slowness * (day % 20 + 1) * HOUR_S) for day in range(30, 1, -1)]
        shape = shape_of(4, LIMIT_S)
        return [Wait(str(at), "abc", shape, float(int(at)), float(int(at + wait_s))) for at, wait_s in days]

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:  # noqa: ARG002
        self.calls.append("history" if f"--format={','.join(USAGE_FIELDS)}" in command else command[0])
        if command[0] == "squeue":
            values = {**dict.fromkeys(QUEUE_FIELDS, ""), "job": "7", "state": "PENDING", "reason": "Priority"}
            values |= {"priority": "100", "user": "ada", "script": "abc.sh", "submitted": str(int(self.now_s - 60))}
            rows = [list(QUEUE_FIELDS), [values[name] for name in QUEUE_FIELDS]]
        else:
            rows = [list(USAGE_FIELDS), *map(self.row, self.waits())]
        return CommandResult(0, "".join(f"{SEPARATOR.join(row)}\n" for row in rows))

    def row(self, wait: Wait) -> list[str]:
        begun, started = str(int(wait.begun_s)), str(int(wait.started_s or 0))
        cells = {**dict.fromkeys(USAGE_FIELDS, ""), "JobID": "17", "JobIDRaw": "17", "Account": "abc"}
        cells |= {"JobName": self.name}
        cells |= {"Submit": begun, "Eligible": begun, "Start": started, "End": str(int(started) + 60)}
        cells |= {"State": "COMPLETED", "TimelimitRaw": "1200", "AllocTRES": "cpu=96,gres/gpu=4", "NodeList": "n1"}
        return [cells[name] for name in USAGE_FIELDS]


def price_of(stages: Iterable[str]) -> PriceQuoted:
    return {
        "kind": "pretrain",
        "gpus": 4,
        "cores": 96,
        "wall_s": [50.0, 100.0, 120.0],
        "gpu_hours": None,
        "source": "measured here",
        "stages": list(stages),
    }


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    inputs: dict[str, Sequence[str]] = {"pretrain-1": (), "promote-1": ("pretrain-1",)}
    workspace = make_workspace(tmp_path / "w", inputs, {"base": tuple(inputs)})
    for stage in inputs:
        workspace.manifest(stage).unlink()
    with command_journal(workspace) as journal:
        journal.append(ChainPriced(name="base", cluster="c", prices=[price_of(inputs)]))
        journal.append(JobIntended(tags=[], tasks=[["pretrain-1"]], dependency="", wall_s=int(LIMIT_S)))
        journal.append(StageSubmitted(), stage="pretrain-1", job="7")
    return workspace


def now_of(workspace: Workspace) -> float:
    return LedgerView(workspace).state.stages["pretrain-1"].submitted_s["7"] + 60


def test_a_pending_job_and_its_chain_are_forecast_from_the_history(workspace: Workspace) -> None:
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s)
    made = forecast(workspace, slurm=Slurm(slurm), now_s=now_s)
    expected = Forecaster(slurm.waits()).forecast(shape_of(4, LIMIT_S), "abc", now_s, 60.0)
    assert isinstance(expected, Expected)
    (chain,) = made.chains
    pretrain, promote = chain.stages
    assert pretrain.outlook.start == pytest.approx((now_s - 60 + expected.p50_s, now_s - 60 + expected.p90_s))
    assert pretrain.outlook.start is not None
    assert pretrain.outlook.end == pytest.approx((pretrain.outlook.start[0] + 100, pretrain.outlook.start[1] + 120))
    assert promote.outlook.reason == "0 bursts of such jobs in the history, of 10 that a forecast needs"
    assert made.warnings == (), made.warnings


def test_a_forecast_reads_the_ledger_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    restored, restore, now_s = list[Workspace](), cache.restore, now_of(workspace)

    def counted(at: Workspace) -> cache.Cached | None:
        restored.append(at)
        return restore(at)

    monkeypatch.setattr(cache, "restore", counted)
    forecast(workspace, slurm=Slurm(FakeSlurm(now_s)), now_s=now_s)
    assert restored == [workspace]


def test_every_forecast_is_recorded_once_and_shown_while_it_holds(workspace: Workspace) -> None:
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s)
    first = forecast(workspace, slurm=Slurm(slurm), now_s=now_s)
    again = forecast(workspace, slurm=Slurm(slurm), now_s=now_s + 120)
    entries = LedgerView(workspace).commands(ForecastMade)
    assert [(entry.stage, entry.job) for entry in entries] == [("pretrain-1", "7")]
    assert again.chains[0].stages[0].outlook.start == first.chains[0].stages[0].outlook.start
    assert slurm.calls.count("history") == 1, "it is read once an hour"


def test_after_the_start_of_a_job_its_forecast_is_scored_and_shown_in_the_status(workspace: Workspace) -> None:
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s)
    forecast(workspace, slurm=Slurm(slurm), now_s=now_s)
    with Journal.open(workspace, "pretrain-1.0001") as journal:
        journal.append(AttemptStarted(node="n1"), stage="pretrain-1", job="7", attempt=1)
    made = forecast(workspace, slurm=Slurm(slurm), now_s=now_s)
    view = LedgerView(workspace)
    (scored,), (was,) = view.commands(ForecastScored), view.commands(ForecastMade)
    started_s = view.state.stages["pretrain-1"].attempts[0].started_s
    assert started_s is not None
    assert (scored.job, scored.event.of, scored.event.actual_s) == ("7", "start", started_s)
    losses = 0.5 * (was.event.start_p50_s - started_s), 0.1 * (was.event.start_p90_s - started_s)
    assert scored.event.pinball_s == pytest.approx(sum(losses) / 2)
    assert made.accuracy == Monitor(workspace).look().forecasts
    assert made.accuracy is not None
    assert (made.accuracy.jobs, made.accuracy.by_p50, made.accuracy.by_p90) == (1, 1.0, 1.0)


def test_submitted_jobs_get_a_forecast_without_a_query_to_slurm(workspace: Workspace) -> None:
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s)
    read_history(workspace, Slurm(slurm), now_s)
    assert forecast_submitted(workspace, ["base"], None, now_s) == ()
    (entry,) = LedgerView(workspace).commands(ForecastMade)
    assert (entry.stage, entry.job, entry.event.begun_s) == ("pretrain-1", "7", now_s - 60)
    assert slurm.calls == ["history"]
    shown = forecast(workspace, slurm=Slurm(slurm), now_s=now_s + 120).chains[0].stages[0]
    assert shown.outlook.start == (entry.event.start_p50_s, entry.event.start_p90_s)
    assert len(LedgerView(workspace).commands(ForecastMade)) == 1


def test_jobs_pending_when_the_history_was_read_are_not_assumed_so_days_later(workspace: Workspace) -> None:
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s)
    history = read_history(workspace, Slurm(slurm), now_s - 3 * 86_400.0)
    forecast_submitted(workspace, ["base"], None, now_s)
    expected = Forecaster(history.waits).forecast(shape_of(4, LIMIT_S), "abc", history.taken_s, 60.0)
    (entry,) = LedgerView(workspace).commands(ForecastMade)
    assert isinstance(expected, Expected)
    assert entry.event.start_p90_s == pytest.approx(now_s - 60 + expected.p90_s)


def test_a_job_that_starts_before_submit_returns_gets_the_same_forecast(workspace: Workspace) -> None:
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s)
    read_history(workspace, Slurm(slurm), now_s - 120)
    began_s = now_s - 60.5
    with Journal.open(workspace, "pretrain-1.0001") as journal:
        journal.append(AttemptStarted(node="n1"), stage="pretrain-1", job="7", attempt=1)
    assert forecast_submitted(workspace, ["base"], None, began_s) == ()
    (made,) = LedgerView(workspace).commands(ForecastMade)
    assert (made.job, made.event.made_s) == ("7", began_s)
    assert made.event.begun_s is not None
    assert made.event.begun_s < made.event.start_p50_s < made.event.start_p90_s
    forecast(workspace, slurm=Slurm(slurm), now_s=now_s)
    (scored,) = LedgerView(workspace).commands(ForecastScored)
    assert (scored.job, scored.event.of, scored.event.made_s) == ("7", "start", began_s)


@pytest.mark.parametrize("age_s", [None, 8 * 86_400.0])
def test_without_a_recent_history_submitted_jobs_get_no_forecast(workspace: Workspace, age_s: float | None) -> None:
    now_s = now_of(workspace)
    if age_s is not None:
        read_history(workspace, Slurm(FakeSlurm(now_s)), now_s - age_s)
    assert forecast_submitted(workspace, ["base"], None, now_s) == ()
    assert not LedgerView(workspace).commands(ForecastMade)


@pytest.mark.parametrize("error", [UserError("no room"), PermissionError("no room")])
def test_a_forecast_that_cannot_be_recorded_ends_no_submission(
    workspace: Workspace, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise error

    now_s = now_of(workspace)
    read_history(workspace, Slurm(FakeSlurm(now_s)), now_s)
    monkeypatch.setattr("detour.orchestration.forecasts.command_journal", refused)
    output = forecast_submitted(workspace, ["base"], None, now_s)
    assert output == ("these forecasts are not recorded, and will not be scored: no room",)


def test_rows_of_sacct_end_only_at_line_feeds(workspace: Workspace) -> None:
    """A name may contain other characters that Python treats as line ends."""
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s, name="of\u2028two\x85lines\x0c")
    history = read_history(workspace, Slurm(slurm), now_s)
    assert [wait.started_s for wait in history.waits] == [wait.started_s for wait in slurm.waits()]


def test_without_sacct_the_reason_for_no_forecast_is_given(workspace: Workspace) -> None:
    now_s = now_of(workspace)
    slurm = FakeSlurm(now_s)

    def down(command: Sequence[str], timeout_s: float) -> CommandResult:
        return CommandResult(1, "", "sacct: error: no") if command[0] == "sacct" else slurm(command, timeout_s)

    made = forecast(workspace, slurm=Slurm(down), now_s=now_s)
    assert made.warnings[-1] == "sacct failed (sacct: error: no): without past jobs there is no forecast"
    assert made.chains[0].stages[0].outlook.start is None


@pytest.fixture
def of_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A pending job 7 on each of two clusters."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    stages = {"pretrain-1": "old", "pretrain-2": "new"}
    workspace = make_workspace(tmp_path / "w", dict.fromkeys(stages, ()), {stages[one]: (one,) for one in stages})
    with command_journal(workspace) as journal:
        journal.append(ChainPriced(name="both", cluster="c", prices=[price_of(stages)]))
        for stage, cluster in stages.items():
            workspace.manifest(stage).unlink()
            plan = workspace.chain(cluster) / "plan.json"
            plan.write_text(json.dumps(json.loads(plan.read_text()) | {"slurm_cluster": cluster}))
            journal.append(JobIntended(tags=[], tasks=[[stage]], dependency="", wall_s=int(LIMIT_S)))
            journal.append(StageSubmitted(slurm_cluster=cluster), stage=stage, job="7")
    return workspace


@dataclass
class Site:
    """The clients of two clusters, of which jobs wait three times as long on the new one."""

    now_s: float
    down: Sequence[str] = ()
    """Clusters without an answer of sacct."""
    clusters: dict[str, FakeSlurm] = field(init=False)

    def __post_init__(self) -> None:
        self.clusters = {"old": FakeSlurm(self.now_s), "new": FakeSlurm(self.now_s, slowness=3.0)}

    def __call__(self, command: Sequence[str], timeout_s: float) -> CommandResult:
        cluster = command[1].removeprefix("--clusters=")
        if command[0] == "sacct" and cluster in self.down:
            return CommandResult(1, "", "sacct: error: no")
        return self.clusters[cluster]([command[0], *command[2:]], timeout_s)

    def start_p50_s(self, cluster: str) -> float:
        waits = self.clusters[cluster].waits()
        expected = Forecaster(waits).forecast(shape_of(4, LIMIT_S), "abc", self.now_s, 60.0)
        assert isinstance(expected, Expected)
        return self.now_s - 60 + expected.p50_s


def test_each_job_is_forecast_from_the_history_of_its_own_cluster(of_clusters: Workspace) -> None:
    site = Site(now_of(of_clusters))
    for _ in range(2):
        made = forecast(of_clusters, slurm=Slurm(site), now_s=site.now_s)
    starts = {chain.name: chain.stages[0].outlook.start for chain in made.chains}
    assert site.start_p50_s("new") > site.start_p50_s("old") + HOUR_S
    for cluster, start in starts.items():
        assert start is not None
        assert start.p50_s == pytest.approx(site.start_p50_s(cluster), abs=2.0)
        assert site.clusters[cluster].calls.count("history") == 1, "it is read once an hour"
    assert made.warnings == ()
    assert sum(len(one.waits) for one in made.histories) == 2 * 29


def test_a_cluster_whose_history_cannot_be_read_is_named_and_only_its_jobs_have_no_forecast(
    of_clusters: Workspace,
) -> None:
    site = Site(now_of(of_clusters), down=["new"])
    made = forecast(of_clusters, slurm=Slurm(site), now_s=site.now_s)
    starts = {chain.name: chain.stages[0].outlook.start for chain in made.chains}
    assert starts["new"] is None
    assert starts["old"] is not None
    assert made.warnings[-1] == "sacct of new failed (sacct: error: no): without past jobs there is no forecast"


def test_the_start_of_a_job_scores_no_forecast_of_another_clusters_job_with_its_id(of_clusters: Workspace) -> None:
    site = Site(now_of(of_clusters))
    forecast(of_clusters, slurm=Slurm(site), now_s=site.now_s)
    for number, known in ((1, 1), (2, 2)):
        with Journal.open(of_clusters, f"pretrain-{number}.0001") as journal:
            journal.append(AttemptStarted(node="n1"), stage=f"pretrain-{number}", job="7", attempt=1)
        made = forecast(of_clusters, slurm=Slurm(site), now_s=site.now_s)
        scored = LedgerView(of_clusters).commands(ForecastScored)
        assert [(entry.stage, entry.event.slurm_cluster) for entry in scored] == [
            ("pretrain-1", "old"),
            ("pretrain-2", "new"),
        ][:known]
        assert made.accuracy is not None
        assert made.accuracy.jobs == known


def test_a_submission_to_one_cluster_forecasts_only_its_own_jobs(of_clusters: Workspace) -> None:
    site = Site(now_of(of_clusters))
    for cluster in ("old", "new"):
        read_history(of_clusters, Slurm(site, cluster=cluster), site.now_s)
    assert forecast_submitted(of_clusters, ["old", "new"], "new", site.now_s) == ()
    (entry,) = LedgerView(of_clusters).commands(ForecastMade)
    assert (entry.stage, entry.event.slurm_cluster) == ("pretrain-2", "new")
