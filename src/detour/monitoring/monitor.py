"""Looks at a workspace: plans, markers, the ledger, and what the scheduler says where it is asked.

Needs neither torch nor pydantic, and decides nothing: see `liveness` for what a stage's status is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.energy import EnergyFigure
from detour.accounting.traces import Spans, spans_in
from detour.errors import UserError
from detour.ledger.process import has_account, user_name
from detour.ledger.state import StageState, State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.costs import chosen, quoted, totals
from detour.monitoring.liveness import Evidence, Marker, stage_status
from detour.monitoring.rows import stage_row, with_energy
from detour.monitoring.seen import Ask, Question, Reading, SeenJob
from detour.monitoring.sites import SiteOf, no_site
from detour.monitoring.status import ChainStatus, StageRow, Status
from detour.planning.files import ChainOutline, StageOutline, Target, chain_names, read_plan_outline, unknown_chain
from detour.site import Site
from detour.text import natural_key

POLL_S = 60.0
"""Poll interval where no plan names the site's."""


def monitor(workspace: Workspace, *, offline: bool = False) -> Monitor:
    """A monitor that asks Slurm about open jobs, unless `offline`; nothing of the scheduler is imported before."""
    return Monitor(workspace, ask=None if offline else partial(_ask, workspace))


def _ask(workspace: Workspace, question: Question) -> Reading:
    from detour.monitoring.jobs import read_jobs

    return read_jobs(workspace, question)


class Monitor:
    """Keeps the folded ledger, so that looking again costs what is new."""

    def __init__(self, workspace: Workspace, site_of: SiteOf = no_site, ask: Ask | None = None) -> None:
        """`site_of` is asked about attempts whose event and plan hold no `site` of their own; `ask`, about jobs that
        were submitted and whose end the ledger does not know: without it, or where it does not know, they are unknown.
        """
        self.workspace, self.site_of, self.ask = workspace, site_of, ask
        self.state = State()
        self._view: LedgerView | None = None
        self._spans: Spans = {}

    def look(self, chains: Collection[str] = (), *, now_s: float | None = None) -> Status:
        """The status of some chains, of all when none is named. Raises UserError for a chain that is not there."""
        if self._view is None:
            self._view = LedgerView(self.workspace)
        else:
            self._view.refresh()
        self.state = self._view.state
        self._spans = spans_in(self.state)
        warnings = list(self._view.warnings)
        plans = list(_plans(self.workspace, chains, warnings))
        jobs, missing = self._jobs(plans)
        warnings += missing
        evidence = Evidence(time.time() if now_s is None else now_s, self.state.writers, jobs)
        rows: dict[str, tuple[StageRow, list[EnergyFigure]]] = {}
        shown = []
        for planned in plans:
            for stage in planned.stages:
                if stage.id not in rows:
                    rows[stage.id] = self._stage(stage, planned.target, evidence)
            shown.append(_chain(planned.chain, [rows[stage.id] for stage in planned.stages]))
        return Status(str(self.workspace.root), evidence.now_s, tuple(shown), tuple(warnings))

    def _jobs(self, plans: Sequence[ChainOutline]) -> tuple[Mapping[str, SeenJob], Sequence[str]]:
        """What is said of the open jobs of all chains, shown or not, so that one reading serves every viewer."""
        open_stages = {stage_id: stage for stage_id, stage in self.state.stages.items() if stage.is_open and stage.jobs}
        if self.ask is None or not open_stages:
            return {}, ()
        jobs = sorted((job for stage in open_stages.values() for job in stage.jobs), key=natural_key)
        users = {writer.process.user for writer in self.state.writers.values() if writer.process}
        users = {user_name(), *filter(has_account, users)}
        targets = self._asked_about(plans, open_stages)
        reading = self.ask(
            Question(
                jobs,
                sorted(users),
                since_s=min(self.state.submitted_s.values(), default=0.0),
                every_s=max((target.poll_s for target in targets if target.poll_s), default=POLL_S),
                slurm_cluster=next((target.slurm_cluster for target in targets), None),
            )
        )
        return reading.jobs, reading.missing

    def _asked_about(self, shown: Sequence[ChainOutline], open_stages: Collection[str]) -> list[Target]:
        """Where chains with open stages were submitted to, whether they are shown or not."""
        names = {plan.chain for plan in shown}
        others = [name for name in chain_names(self.workspace) if name not in names]
        plans = [*shown, *_plans(self.workspace, others, [])] if others else shown
        return [plan.target for plan in plans if any(stage.id in open_stages for stage in plan.stages)]

    def _stage(self, planned: StageOutline, target: Target, evidence: Evidence) -> tuple[StageRow, list[EnergyFigure]]:
        stage_id = planned.id
        known = self.state.stages.get(stage_id)
        marker = _marker(self.workspace, stage_id)
        failure = _object(self.workspace.failure(stage_id)).get("reason") if marker == "failed" else None
        figures = self._figures(stage_id, known, target.site, evidence.now_s)
        row = stage_row(
            planned,
            known,
            stage_status(known, marker, evidence),
            failure if isinstance(failure, str) else None,
            evidence,
        )
        return row, figures

    def _figures(
        self, stage_id: str, known: StageState | None, planned_site: Site | None, now_s: float
    ) -> list[EnergyFigure]:
        figures: list[EnergyFigure] = []
        for attempt in known.attempts if known else []:
            usage = usage_of(stage_id, attempt, now_s)
            if usage is not None and attempt.started is not None:
                site = planned_site or self.site_of(attempt.started.event.cluster)
                figures += figures_of(attempt, usage, site, self._spans)
        return figures


def read_status(
    workspace: Workspace,
    chains: Collection[str] = (),
    *,
    site_of: SiteOf = no_site,
    ask: Ask | None = None,
    now_s: float | None = None,
) -> Status:
    """One look; see `Monitor`."""
    return Monitor(workspace, site_of, ask).look(chains, now_s=now_s)


def _chain(name: str, rows: Sequence[tuple[StageRow, list[EnergyFigure]]]) -> ChainStatus:
    """The stages' energy is by the method that suits the whole chain, so that it can be compared, and sums up."""
    figures = [figure for _, of_stage in rows for figure in of_stage]
    elapsed = [row.elapsed_s for row, _ in rows if row.elapsed_s is not None]
    methods = chosen(figures)
    return ChainStatus(
        name=name,
        stages=tuple(with_energy(row, quoted(of_stage, methods)) for row, of_stage in rows),
        elapsed_s=sum(elapsed) if elapsed else None,
        energy=tuple(totals(figures)),
        quoted=quoted(figures, methods),
    )


def _plans(workspace: Workspace, chains: Collection[str], warnings: list[str]) -> Iterator[ChainOutline]:
    """The chains' plans, by name; one that cannot be read becomes a warning."""
    present = chain_names(workspace)
    if absent := sorted(set(chains) - set(present)):
        raise unknown_chain(workspace, absent[0])
    for name in present:
        if chains and name not in chains:
            continue
        try:
            yield read_plan_outline(workspace, name)
        except UserError as error:
            warnings.append(str(error))


def _marker(workspace: Workspace, stage_id: str) -> Marker | None:
    if workspace.is_done(stage_id):
        return "done"
    return "failed" if workspace.has_failed(stage_id) else None


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is none or it is no object."""
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
