"""What `detour forecast` does: forecast what is pending in chains, record the forecasts, and score earlier ones.

Every forecast shown is in the ledger: it is recorded when made, and shown until it is no longer current
(`detour.forecasting.records`). Submitted stages get one too, so the score does not depend on who looks.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple

from detour.errors import DetourError, UserError
from detour.forecasting.chain_forecast import Outlook, Pair, PendingStage, look_ahead
from detour.forecasting.forecaster import P50, P90, Expected, Forecaster, NoForecast
from detour.forecasting.own_history import History, kept_history, read_history
from detour.forecasting.records import Accuracy, Happened, JobKey, accuracy, is_current, made_at_s, new_scores
from detour.forecasting.slurm_estimate import corrected_s, errors_s
from detour.forecasting.waits import Shape, shape_of
from detour.ledger.events import ChainPriced, ForecastMade, ForecastScored, JobIntended
from detour.ledger.journal import command_journal
from detour.ledger.record import Entry
from detour.ledger.stages import may_be_on
from detour.ledger.state import State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.jobs import read_jobs
from detour.monitoring.monitor import Monitor, monitor
from detour.monitoring.status import ChainStatus, SegmentRow, StageRow, Status
from detour.planning.files import read_plan_outline
from detour.scheduler.commands import Slurm

HISTORY, SLURM = "history", "Slurm's estimate, corrected"
NOT_WRITTEN = "these forecasts are not recorded, and will not be scored: {}"
KNOWN_LONG_S = 7 * 86_400.0
"""Maximum age, in seconds, of the history used at submission, which does not wait for sacct."""


class StageForecast(NamedTuple):
    stage: StageRow
    outlook: Outlook
    made_s: float
    method: str


class ChainForecast(NamedTuple):
    name: str
    stages: tuple[StageForecast, ...]
    """The stages that are not done."""


class Forecasts(NamedTuple):
    now_s: float
    chains: tuple[ChainForecast, ...]
    histories: tuple[History, ...]
    """The waits at each Slurm cluster that was asked."""
    accuracy: Accuracy | None
    warnings: tuple[str, ...]


class _Priced(NamedTuple):
    gpus: int | None = None
    wall_s: Pair | None = None


def forecast(
    workspace: Workspace, names: Collection[str] = (), *, slurm: Slurm | None = None, now_s: float | None = None
) -> Forecasts:
    """Forecast what is pending. Raises UserError for an unknown name; what cannot be recorded is in `warnings`."""
    now = time.time() if now_s is None else now_s
    looking = Monitor(workspace, ask=lambda question: read_jobs(workspace, question, slurm))
    status = looking.look(names, now_s=now)
    view, client = looking.view, slurm or Slurm()
    clusters = _slurm_clusters(workspace, status, view.state)
    ahead = [row.id for chain in status.chains for row in _not_ended(chain)]
    asked = dict.fromkeys(clusters[stage] for stage in ahead or clusters) or (None,)
    histories = {cluster: read_history(workspace, client.on(cluster), now) for cluster in asked}
    outlooks = _Outlooks(view, clusters, histories, now)
    chains = tuple(ChainForecast(chain.name, outlooks.of_chain(chain)) for chain in status.chains)
    problem = _write_down(workspace, view, status, outlooks)
    if problem is None:
        view.refresh()
    missing = [history.missing for history in histories.values() if history.missing]
    warnings = (*status.warnings, *missing, *([problem] if problem else []))
    return Forecasts(now, chains, tuple(histories.values()), accuracy(view.state.scores.values()), warnings)


def forecast_submitted(
    workspace: Workspace, chains: Collection[str], cluster: str | None, began_s: float
) -> tuple[str, ...]:
    """Record a forecast of each stage whose submission to this Slurm cluster began at `began_s`, without asking Slurm.

    It uses the history that `detour forecast` last read; without one, nothing is recorded. Jobs that have started since
    get the forecast they would have had at `began_s`: if only those that wait long had one, the score would cover only
    the worst. Returns why recording failed, if it did; it never raises, since the submission is done.
    """
    history = kept_history(workspace, cluster, began_s, KNOWN_LONG_S)
    if history is None:
        return ()
    try:
        looking = monitor(workspace, offline=True)
        status, view = looking.look(chains), looking.view
        clusters = _slurm_clusters(workspace, status, view.state)
        outlooks = _Outlooks(view, clusters, {cluster: history}, began_s, made_s=began_s)
        for chain in status.chains:
            outlooks.of_chain(chain._replace(stages=tuple(_as_of(row, began_s) for row in chain.stages)))
        problem = _write_down(workspace, view, status, outlooks)
    except (DetourError, OSError) as error:
        problem = NOT_WRITTEN.format(error)
    return (problem,) if problem else ()


def _slurm_clusters(workspace: Workspace, status: Status, state: State) -> Mapping[str, str | None]:
    """Stage -> the Slurm cluster that has its last job, or that its chain is planned for."""
    found: dict[str, str | None] = {}
    for chain in status.chains:
        planned = read_plan_outline(workspace, chain.name).target.slurm_cluster
        for row in chain.stages:
            found.setdefault(row.id, state.stage(row.id).last_slurm_cluster(planned))
    return found


def _not_ended(chain: ChainStatus) -> list[StageRow]:
    return [row for row in chain.stages if row.status not in ("done", "failed", "cancelled")]


def _as_of(row: StageRow, began_s: float) -> StageRow:
    """The row as it was when its submission began: what has started since had not."""
    segments = tuple(one._replace(started_s=None) if (one.started_s or 0.0) >= began_s else one for one in row.segments)
    return row if segments == row.segments else row._replace(status="submitted", segments=segments)


class _Queue:
    """What is known about the waits at one Slurm cluster."""

    def __init__(self, history: History, errors_s: Sequence[float]) -> None:
        self._known_s, self.errors_s = history.taken_s, errors_s
        self._forecaster = Forecaster(history.waits)
        self._accounts = {wait.shape: wait.account for wait in history.waits}

    def wait(self, shape: Shape, waited_s: float) -> Expected | NoForecast:
        """The expected wait, as of the time the history was read: what was pending then may not be now.

        The account is the last one with jobs of this shape: GPUs and CPUs are often charged to different accounts.
        """
        return self._forecaster.forecast(shape, self._accounts.get(shape, ""), self._known_s, waited_s)


class _Outlooks:
    """Outlooks of stages, each computed once however many chains need it."""

    def __init__(
        self,
        view: LedgerView,
        clusters: Mapping[str, str | None],
        histories: Mapping[str | None, History],
        now_s: float,
        made_s: float | None = None,
    ) -> None:
        """`clusters` has the Slurm cluster of each stage, `histories` those of which the waits are known."""
        self._state, self._clusters, self._now_s, self._made_s = view.state, clusters, now_s, made_s
        scored = view.commands(ForecastScored)
        self._queues = {
            cluster: _Queue(history, errors_s(one for one in scored if may_be_on(cluster, one.event.slurm_cluster)))
            for cluster, history in histories.items()
        }
        self._priced, self._limits_s = _prices(view.commands(ChainPriced)), _limits_s(view.commands(JobIntended))
        self._made = {entry.stage: entry for entry in view.commands(ForecastMade)}
        self.fresh: dict[str, tuple[str | None, ForecastMade]] = {}
        """Stage -> job and the forecast to record."""

    def of_chain(self, chain: ChainStatus) -> tuple[StageForecast, ...]:
        rows = _not_ended(chain)
        found = look_ahead([self._ahead(row) for row in rows], self._wait, self._now_s)
        return tuple(self._shown(row, found[row.id]) for row in rows)

    def _wait(self, stage: PendingStage, waited_s: float) -> Expected | NoForecast:
        queue = self._queues.get(self._clusters[stage.id])
        return queue.wait(stage.shape, waited_s) if queue else NoForecast("no past jobs of its Slurm cluster are known")

    def _ahead(self, row: StageRow) -> PendingStage:
        priced, limit_s = self._priced.get(row.id, _Priced()), self._limits_s.get(row.id)
        job = _waiting(row)
        running = row.status == "running"
        return PendingStage(
            id=row.id,
            inputs=row.inputs,
            shape=shape_of(priced.gpus, limit_s),
            left=_left(row, priced),
            limit_s=limit_s,
            started_s=max((one.started_s for one in row.segments if one.started_s), default=None) if running else None,
            begun_s=job.eligible_s if job else None,
            start=self._corrected(row) if job else None,
        )

    def _corrected(self, row: StageRow) -> Pair | None:
        queue = self._queues.get(self._clusters[row.id])
        if row.starts_s is None or queue is None:
            return None
        p50_s, p90_s = (corrected_s(row.starts_s, queue.errors_s, share) for share in (P50, P90))
        return None if p50_s is None or p90_s is None else Pair(p50_s, p90_s)

    def _shown(self, row: StageRow, outlook: Outlook) -> StageForecast:
        job = row.jobs[-1] if row.jobs else None
        method = SLURM if _waiting(row) and self._corrected(row) else HISTORY
        if outlook.start is None or row.status == "running":
            return StageForecast(row, outlook, self._now_s, method)
        standing = self._made.get(row.id)
        if standing is not None and is_current(standing, job, outlook.begun_s, self._now_s):
            return _as_it_was_made(row, standing)
        self.fresh[row.id] = (
            job,
            ForecastMade(
                method=method,
                begun_s=outlook.begun_s,
                start_p50_s=outlook.start.p50_s,
                start_p90_s=outlook.start.p90_s,
                end_p50_s=outlook.end.p50_s if outlook.end else None,
                end_p90_s=outlook.end.p90_s if outlook.end else None,
                slurm_start_s=row.starts_s,
                bursts=outlook.bursts,
                made_s=self._made_s,
                slurm_cluster=_recorded_cluster(self._state, row.id, job),
            ),
        )
        return StageForecast(row, outlook, self._now_s, method)


def _as_it_was_made(row: StageRow, standing: Entry[ForecastMade]) -> StageForecast:
    made = standing.event
    ends = None if made.end_p50_s is None or made.end_p90_s is None else Pair(made.end_p50_s, made.end_p90_s)
    outlook = Outlook(made.begun_s, Pair(made.start_p50_s, made.start_p90_s), ends, made.bursts, None)
    return StageForecast(row, outlook, made_at_s(standing), made.method)


def _write_down(workspace: Workspace, view: LedgerView, status: Status, outlooks: _Outlooks) -> str | None:
    """Record the new forecasts and the scores of earlier ones. Returns why that failed, if it did."""
    happened = _happened(view.state, (row for chain in status.chains for row in chain.stages))
    scores = list(new_scores(view.commands(ForecastMade), view.commands(ForecastScored), happened))
    if not scores and not outlooks.fresh:
        return None
    try:
        with command_journal(workspace) as journal:
            for entry, scored in scores:
                journal.append(scored, stage=entry.stage, job=entry.job)
            for stage, (job, made) in outlooks.fresh.items():
                journal.append(made, stage=stage, job=job)
    except UserError as error:
        return NOT_WRITTEN.format(error)
    return None


def _happened(state: State, rows: Iterable[StageRow]) -> Happened:
    """Starts by the attempts' own records, or by Slurm's for jobs that have not reported; ends of done stages."""
    started_s: dict[JobKey, float] = {}
    for row in rows:
        for one in row.segments:
            if one.job and one.started_s:
                started_s[_recorded_cluster(state, row.id, one.job), one.job] = one.started_s
    reported_s: dict[JobKey, float] = {}
    for job, attempts in state.jobs.items():
        for stage, attempt in attempts:
            if attempt.started_s is not None:
                key = _recorded_cluster(state, stage, job), job
                reported_s[key] = min(attempt.started_s, reported_s.get(key, inf))
    ended = {stage.id: stage.ended_s for stage in state.stages.values() if stage.done and stage.ended_s is not None}
    return Happened(started_s | reported_s, ended)


def _recorded_cluster(state: State, stage: str, job: str | None) -> str | None:
    return state.stage(stage).slurm_clusters.get(job or "")


def _waiting(row: StageRow) -> SegmentRow | None:
    """The stage's job that waits only for its turn, if there is one."""
    found = [one for one in row.segments if one.started_s is None and one.eligible_s is not None]
    return found[-1] if found and row.status == "submitted" else None


def _left(row: StageRow, priced: _Priced) -> Pair | None:
    """How much time is left to run, with the band of its price."""
    expected_s = row.left_s if row.left_s is not None else row.expected_s
    if expected_s is None:
        return priced.wall_s
    if priced.wall_s is None or priced.wall_s.p50_s <= 0:
        return Pair(expected_s, expected_s)
    return Pair(expected_s, expected_s * max(1.0, priced.wall_s.p90_s / priced.wall_s.p50_s))


def _prices(priced: Sequence[Entry[ChainPriced]]) -> Mapping[str, _Priced]:
    """Stage -> its last price."""
    found: dict[str, _Priced] = {}
    for entry in priced:
        for quoted in entry.event.prices:
            band = quoted["wall_s"]
            one = _Priced(quoted["gpus"], Pair(band[1], band[2]) if band else None)
            found |= dict.fromkeys(quoted["stages"], one)
    return found


def _limits_s(intended: Sequence[Entry[JobIntended]]) -> Mapping[str, float]:
    """Stage -> the time limit of its last job."""
    found: dict[str, float] = {}
    for entry in intended:
        if entry.event.wall_s is not None:
            found |= dict.fromkeys((stage for task in entry.event.tasks for stage in task), float(entry.event.wall_s))
    return found
