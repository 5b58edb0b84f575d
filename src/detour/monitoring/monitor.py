"""Reads a workspace's status from plans, markers, the ledger, and the scheduler if it is asked.

Needs neither torch nor pydantic, and decides nothing: `liveness` decides on a stage's status.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import orjson

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.energy import EnergyFigure
from detour.accounting.hours import AttemptUsage
from detour.accounting.site import planned_sites, profile_sites
from detour.accounting.traces import Spans, spans_in
from detour.errors import UserError
from detour.forecasting.records import accuracy
from detour.ledger.process import users_here
from detour.ledger.state import StageState, State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.chains import Costed, chain_status
from detour.monitoring.done_chains import DoneChains
from detour.monitoring.full_disk import disk_is_full, silent_s
from detour.monitoring.groups import groups
from detour.monitoring.liveness import Marker, StatusEvidence, stage_status, unread_sentence
from detour.monitoring.memory import Memory
from detour.monitoring.queries import Ask, Question, Reading, Readings
from detour.monitoring.rows import Context, stage_row
from detour.monitoring.segments import AttemptKey, key_of
from detour.monitoring.status import ChainStatus, Status
from detour.planning.files import ChainOutline, StageOutline, read_plan_outline
from detour.planning.outlines import Outlines
from detour.planning.selection import Known, select_chains
from detour.site import Site, unknown_site
from detour.text import natural_key

POLL_S = 60.0
"""Poll interval in seconds if no plan has the site's."""


def monitor(workspace: Workspace, *, offline: bool = False, with_segments: bool = True) -> Monitor:
    """A monitor that asks Slurm about open jobs unless `offline`. The scheduler's modules are imported only to ask."""
    return Monitor(workspace, ask=None if offline else partial(_ask, workspace), with_segments=with_segments)


def _ask(workspace: Workspace, question: Question) -> Reading:
    from detour.monitoring.jobs import read_jobs

    return read_jobs(workspace, question)


class Monitor:
    """Keeps the folded ledger, so that another look costs only what is new."""

    def __init__(self, workspace: Workspace, ask: Ask | None = None, *, with_segments: bool = True) -> None:
        """`ask` is used for submitted jobs without a recorded end; without it or an answer, these are unknown.

        `with_segments=False` leaves segments out of the rows.
        """
        self.workspace, self.ask = workspace, ask
        self.with_segments = with_segments
        self.state = State()
        self._view: LedgerView | None = None
        self._spans: Spans = {}
        self._outlines, self._memory = Outlines(workspace), Memory()
        self._open: dict[str, StageState] = {}
        """Stages that a job or an attempt may still change."""
        self._unread: dict[str, OSError] = {}
        """Stage -> why its markers could not be read."""
        self._done_chains: DoneChains | None = None
        """During the first look, the chains cached by earlier commands."""
        self._site_of: Callable[[str | None], Site] = unknown_site
        """Constants by the name of the profile that an attempt ran under."""
        self.factor_files: frozenset[str] = frozenset()
        """The files of hourly grid factors that the last look depends on."""

    def look(self, names: Collection[str] = (), *, now_s: float | None = None) -> Status:
        """The status of the chains that the names mean (see `select_chains`); without names, of all chains.

        Raises UserError for an unknown name, and if no plan of these chains can be read.
        """
        at_s = time.time() if now_s is None else now_s
        is_full = self._memory.is_due(at_s)
        known = self._outlines.known()
        sites = planned_sites(outline.target for outline in known.chains.values())
        self.factor_files = frozenset(site.hourly.path for site in sites.values() if site.hourly)
        view = self._refreshed(sites, is_full=is_full)
        warnings = [*view.warnings, *known.unreadable]
        shown = select_chains(self.workspace, tuple(names), known) if names else tuple(known.chains)
        plans = [known.chains[name] for name in shown if name in known.chains]
        if names and not plans:
            read_plan_outline(self.workspace, shown[0])  # raises what is wrong with it
        self._site_of = _sites(known)
        if is_full:
            self._unread.clear()
        self._memory.look(at_s, known, view.touched, is_full=is_full)
        readings = self._readings(known, plans, view.touched, is_full=is_full)
        view.touched.clear()
        warnings += readings.missing
        no_room = bool(self._open) and disk_is_full(self.workspace)
        evidence = StatusEvidence(at_s, self.state.writers, {}, self._waiting_for_room(at_s), no_room)
        rows: dict[str, Costed] = {}
        chains = [
            self._memory.chain(planned, readings, at_s) or self._looked_at(planned, rows, evidence, readings)
            for planned in plans
        ]
        if self._done_chains is not None and not names:
            self._done_chains.keep(chains)
        self._done_chains = None
        return Status(
            str(self.workspace.root),
            evidence.now_s,
            tuple(chains),
            groups(chains, lambda chain: chain.sweep),
            groups(chains, lambda chain: chain.project),
            readings.queue_s,
            (*warnings, *unread_sentence(list(self._unread.values()))),
            accuracy(self.state.scores.values()),
        )

    @property
    def view(self) -> LedgerView:
        """The ledger as of the last look, for who needs more of it: reading a large one again takes seconds."""
        return self._view or LedgerView(self.workspace)

    def looks(self, names: Collection[str], every_s: float) -> Iterator[Status]:
        """Look again and again, with so many seconds in between."""
        while True:
            yield self.look(names)
            time.sleep(every_s)

    def _refreshed(self, sites: Mapping[str, Site], *, is_full: bool) -> LedgerView:
        if self._view is None:
            self._view = LedgerView(self.workspace)
            if not self.with_segments:
                self._done_chains = DoneChains(self.workspace, self._view, self._outlines, sites)
        else:
            self._view.refresh(lately=not is_full)
        self.state = self._view.state
        if is_full:
            self._spans = spans_in(self.state)
        return self._view

    def _looked_at(
        self, planned: ChainOutline, rows: dict[str, Costed], evidence: StatusEvidence, readings: Readings
    ) -> ChainStatus:
        """The chain's current status; `rows` collects those of stages that several chains share."""
        settled = self._done_chains and self._done_chains.chain(planned.chain, self._memory.needed_by)
        if settled:
            self._memory.keep(planned, settled, readings, evidence.now_s)
            return settled
        costed = []
        for stage in planned.stages:
            row = rows.get(stage.id)
            if row is None:
                chains = self._memory.needed_by[stage.id]
                seen = readings.about(self.state.stage(stage.id), planned.target.slurm_cluster)
                row = rows[stage.id] = self._stage(stage, evidence._replace(jobs=seen), chains)
            costed.append(row)
        status = chain_status(self.workspace, planned, costed, self.state, evidence.now_s)
        self._memory.keep(planned, status, readings, evidence.now_s)
        return status

    def _readings(
        self, known: Known, shown: Sequence[ChainOutline], touched: Collection[str], *, is_full: bool
    ) -> Readings:
        """The readings of the open jobs of all chains, shown or not, so that they serve every viewer."""
        for stage_id in self.state.stages if is_full else touched:
            stage = self.state.stages.get(stage_id)
            if stage is not None and (stage.is_open or (stage.failure and self._marker(stage_id) is None)):
                self._open[stage_id] = stage
            else:
                self._open.pop(stage_id, None)
        submitted = {stage_id: jobs for stage_id, stage in self._open.items() if (jobs := stage.jobs)}
        if self.ask is None or not submitted:
            return Readings()
        targets = known.targets({plan.chain for plan in shown})
        asked: dict[str | None, set[str]] = {}
        tried: dict[str | None, set[str]] = {}
        for stage_id, jobs in submitted.items():
            stage = self._open[stage_id]
            planned = targets.of(stage_id).slurm_cluster
            for job in jobs:
                asked.setdefault(stage.slurm_cluster(job, planned), set()).add(job)
            for _, job in stage.attempts_by_key:
                tried.setdefault(stage.slurm_cluster(job, planned), set()).add(job)
        question = Question(
            (),
            users_here(self.state.users),
            since_s=self.state.sent_since_s,
            every_s=max((poll_s for stage_id in submitted if (poll_s := targets.of(stage_id).poll_s)), default=POLL_S),
        )
        return Readings(
            {
                cluster: self.ask(
                    question._replace(
                        jobs=sorted(jobs, key=natural_key),
                        slurm_cluster=cluster,
                        tried=frozenset(tried.get(cluster, ())),
                    )
                )
                for cluster, jobs in asked.items()
            }
        )

    def _waiting_for_room(self, now_s: float) -> frozenset[str]:
        stages = self._open.items()
        return frozenset(stage_id for stage_id, known in stages if silent_s(self.workspace, known, now_s) is not None)

    def _stage(self, planned: StageOutline, evidence: StatusEvidence, chains: Sequence[str]) -> Costed:
        stage_id = planned.id
        known = self.state.stage(stage_id)
        marker = self._marker(stage_id)
        current = known if marker in ("done", "unreadable") else known.since_done()
        usages = _usages(known, evidence.now_s)
        context = Context(
            tuple(chains),
            self._inputs_ready_s(planned),
            self.state.priced_s(stage_id),
            usages,
            self.with_segments,
        )
        row = stage_row(
            planned,
            known,
            current,
            stage_status(current, marker, evidence),
            self._marker_text(stage_id, marker),
            evidence,
            context,
        )
        return Costed(row, self._figures(known, usages))

    def _marker(self, stage_id: str) -> Marker | None:
        try:
            if self.workspace.is_done(stage_id):
                return "done"
            return "failed" if self.workspace.has_failed(stage_id) else None
        except OSError as error:
            self._unread[stage_id] = error
            return "unreadable"

    def _marker_text(self, stage_id: str, marker: Marker | None) -> str | None:
        """As in `states.judge`."""
        if marker == "unreadable":
            return f"its folder cannot be read ({self._unread[stage_id].strerror})"
        reason = _object(self.workspace.failure(stage_id)).get("reason") if marker == "failed" else None
        return reason if isinstance(reason, str) else None

    def _inputs_ready_s(self, planned: StageOutline) -> float | None:
        """When the last input was done: 0 without inputs, None while one is not done."""
        ready_s = 0.0
        for stage_id in planned.inputs.values():
            if (end_s := self.state.stage(stage_id).released_s) is None:
                return None
            ready_s = max(ready_s, end_s)
        return ready_s

    def _figures(
        self, known: StageState, usages: Mapping[AttemptKey, AttemptUsage]
    ) -> Mapping[AttemptKey, list[EnergyFigure]]:
        figures: dict[AttemptKey, list[EnergyFigure]] = {}
        for attempt in known.runs:
            key = key_of(attempt)
            if key in usages:
                figures[key] = figures_of(attempt, usages[key], self._site_of(attempt.cluster), self._spans)
        return figures


def _sites(known: Known) -> Callable[[str | None], Site]:
    """Constants by name of the profile, unknown if it cannot be read."""
    recorded = profile_sites(outline.target for outline in known.chains.values())

    @cache
    def site(name: str | None) -> Site:
        try:
            return recorded(name)
        except UserError:
            return unknown_site(name)

    return site


def _usages(known: StageState, now_s: float) -> dict[AttemptKey, AttemptUsage]:
    usages = ((run, usage_of(known.id, run, now_s)) for run in known.runs)
    return {key_of(run): usage for run, usage in usages if usage is not None}


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no file or no object in it."""
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
