"""Gather the data of each stage from the ledger and the workspace: attempts with their figures, status, manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from detour.accounting import account
from detour.accounting.attempts import usage_of
from detour.accounting.parts import figures_within
from detour.accounting.traces import spans_in
from detour.grouping import grouped
from detour.ledger.stages import AttemptState
from detour.ledger.state import StageState, StageStatus
from detour.ledger.view import LedgerView
from detour.monitoring.liveness import Marker, StatusEvidence, stage_status
from detour.planning.plan import Plan
from detour.planning.stage import Stage as PlannedStage
from detour.pricing.billing import billed_gpu_hours
from detour.reporting import costs
from detour.reporting.costs import Counted, cost_of
from detour.reporting.data import AttemptRow, Stage
from detour.reporting.output_cache import OutputCache
from detour.reporting.outputs import read_json
from detour.reporting.period import Period
from detour.reporting.profiles import ProfileOf
from detour.site import Site

SiteOf = Callable[[str | None], Site]
"""Name of a cluster profile (None: not recorded) -> its constants."""


class Gathered(NamedTuple):
    """One stage, with everything that is known about it."""

    planned: PlannedStage
    stage: Stage
    attempts: list[Counted]
    known: StageState
    provenance: Mapping[str, Any]
    """Provenance from the manifest of its output; empty without one."""

    @property
    def counted(self) -> list[account.Counted]:
        return [(one.usage, one.figures) for one in self.attempts]


class Gatherer:
    """Reads stages as of a single instant."""

    def __init__(
        self,
        outputs: OutputCache,
        view: LedgerView,
        site_of: SiteOf,
        period: Period,
        profile_of: ProfileOf,
        now_s: float,
    ) -> None:
        self.outputs, self.site_of, self.period, self.profile_of = outputs, site_of, period, profile_of
        self.workspace = outputs.workspace
        self.state = view.state
        self.unread: list[OSError] = []
        """Why the markers of stages cannot be read."""
        self.evidence, self.spans = StatusEvidence(now_s, view.state.writers), spans_in(view.state)

    def gather(self, plans: Sequence[Plan]) -> dict[str, Gathered]:
        """Return every stage of the plans once, by id."""
        users = grouped((stage.id, plan.chain) for plan in plans for stage in plan.stages)
        planned = {stage.id: stage for plan in plans for stage in plan.stages}
        return {stage_id: self._stage(stage, users[stage_id]) for stage_id, stage in planned.items()}

    def _stage(self, planned: PlannedStage, users: list[str]) -> Gathered:
        known = self.state.stage(planned.id)
        counted, rows, is_cut = self._attempts(known)
        manifest = self.outputs.manifest(planned.id)
        failure = {} if manifest else read_json(self.workspace.failure(planned.id))
        stage = Stage(
            id=planned.id,
            kind=planned.kind,
            name=planned.name,
            label=planned.label,
            status=self._status(known, is_done=manifest is not None),
            reason=_text(failure.get("reason")) or known.reason,
            chains=users,
            attempts=rows,
            cost=cost_of(counted, every_method=False),
            output_sha256=manifest.sha256 if manifest else None,
            is_cut=is_cut,
        )
        return Gathered(planned, stage, counted, known, manifest.provenance if manifest else {})

    def _attempts(self, known: StageState) -> tuple[list[Counted], list[AttemptRow], bool]:
        """Return the attempts in the period, as figures and as rows, and whether the period cuts any."""
        counted, rows, is_cut = [], [], False
        for attempt in known.runs:
            whole = usage_of(known.id, attempt, self.evidence.now_s)
            usage = whole and self.period.part_of(whole)
            is_cut = is_cut or usage is not whole
            if whole is None or usage is None:
                continue
            node, cluster = attempt.started.event.node if attempt.started else None, attempt.cluster
            figures_in = partial(
                figures_within, attempt=attempt, whole=whole, site=self.site_of(cluster), spans=self.spans
            )
            profile = self.profile_of(cluster)
            outcome, reason = attempt.outcome or ("running" if usage.running else "lost"), attempt.reason
            if outcome == "lost" and attempt.held is not None:
                reason = reason or attempt.held.run.state
            billed = None if profile is None else billed_gpu_hours(profile, usage)
            one = costs.counted(usage, figures_in, node, cluster, outcome, reason, billed)
            counted.append(one)
            rows.append(
                AttemptRow(
                    number=max(attempt.number, 0),
                    job=attempt.job,
                    node=node,
                    cluster=cluster,
                    started_s=usage.start_s,
                    ended_s=usage.end_s,
                    allocated_s=usage.allocated_s,
                    outcome=outcome,
                    reason=reason,
                    gpus=usage.gpus,
                    cpus=usage.cpus,
                    billed_hours=billed,
                    fates_s=one.fates,
                    open_ended=usage.open_ended,
                    source=usage.source,
                    user=self._user(attempt),
                )
            )
        return counted, rows, is_cut

    def _user(self, attempt: AttemptState) -> str | None:
        in_job = (one for _, one in self.state.jobs.get(attempt.job or "", ()))
        started = next((one.started for one in chain((attempt,), in_job) if one.started), None)
        return self.state.user_of(started.writer) if started else None

    def _status(self, known: StageState, is_done: bool) -> StageStatus:
        """Return the status as in `detour status` without querying the scheduler."""
        marker: Marker | None = None
        try:
            if is_done or self.workspace.is_done(known.id):
                marker = "done"
            elif self.workspace.has_failed(known.id):
                marker = "failed"
        except OSError as error:
            marker = "unreadable"
            self.unread.append(error)
        return stage_status(known, marker, self.evidence)


def all_attempts(gathered: Iterable[Gathered]) -> list[Counted]:
    return [attempt for one in gathered for attempt in one.attempts]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
