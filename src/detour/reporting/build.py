"""Build a report from the workspace's plans and outputs, the ledger, and the constants of the cluster profiles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from detour.accounting.attempts import usage_of
from detour.accounting.energy import EnergyFigure, quotable_method
from detour.accounting.periods import unread_hours
from detour.accounting.site import planned_targets, recorded_profiles
from detour.budgets.caps import Budget
from detour.config.project import Project
from detour.environment import installed
from detour.grouping import grouped
from detour.ledger.events import ChainPriced, CheckpointSaved, JobAccepted, JobIntended, ProgressMade
from detour.ledger.reading import Selection
from detour.ledger.record import Entry
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.liveness import unread_sentence
from detour.planning.files import Target
from detour.pricing.comparison import Accuracy, accuracy, compare, quotes
from detour.pricing.history import finished_stages
from detour.reporting import data
from detour.reporting.burns import burn_downs
from detour.reporting.calendar import by_period
from detour.reporting.chains import Reader
from detour.reporting.costs import Counted, cost_of, energy_warnings
from detour.reporting.efficiency import point_costs, token_yields
from detour.reporting.gather import Gathered, Gatherer, SiteOf, all_attempts
from detour.reporting.grid import grid_of
from detour.reporting.incidents import INCIDENTS, incidents
from detour.reporting.output_cache import OutputCache
from detour.reporting.outputs import versions_of
from detour.reporting.overheads import asides
from detour.reporting.period import Period
from detour.reporting.profiles import hardware_of
from detour.reporting.purpose import PurposeRow, purpose_rows
from detour.reporting.quality import quality_rows
from detour.reporting.reconciliation import parse_site_figure, reconcile
from detour.reporting.released import released_of
from detour.reporting.report import Equivalent, Hardware, Owner, Report
from detour.reporting.scope import Scope, scope_of
from detour.reporting.waits import WaitRow, eligible_s, wait_rows
from detour.reporting.waste import Interval, interval, waste_by_cause
from detour.text import listed

Events: TypeAlias = dict[Any, dict[str, list[Entry[Any]]]]
"""Kind of event -> stage -> its events."""
OPEN = ("planned", "submitted", "running", "interrupted", "unknown")


@dataclass(frozen=True, slots=True)
class Question:
    """What to report, apart from the workspace."""

    names: Sequence[str] = ()
    """Chains, patterns of their names, or sweeps; empty for the whole workspace."""
    period: Period = field(default_factory=Period)
    project: Project | None = None
    budgets: Sequence[Budget] = ()
    site_figure: str | None = None
    """The site's own usage figure, as pasted by the user."""
    said: Sequence[str] = ()
    """Messages about what could not be obtained, to be shown among the warnings."""


class Reading(NamedTuple):
    """What a report is made from, apart from outputs: read once, since reading a large ledger is slow."""

    scope: Scope
    view: LedgerView
    targets: list[Target]
    """Of all chains of the workspace; see `planned_targets`."""


def read(workspace: Workspace, names: Sequence[str], project: Project | None) -> Reading:
    """Read the plans and the ledger. Raises UserError for a name that matches nothing."""
    scope = scope_of(workspace, names, project)
    trained = frozenset(stage.id for plan in scope.plans for stage in plan.stages if stage.kind == "pretrain")
    view = LedgerView(workspace, Selection((ProgressMade, CheckpointSaved, *INCIDENTS), trained))
    return Reading(scope, view, planned_targets(workspace))


def build_report(
    workspace: Workspace, question: Question, site_of: SiteOf, now_s: float, reading: Reading | None = None
) -> Report:
    """Build a report, from what the caller has read if it has.

    Raises UserError for a name that matches nothing, and for a site figure that cannot be parsed.
    """
    site_figure = parse_site_figure(question.site_figure) if question.site_figure else None
    scope, view, targets = reading or read(workspace, question.names, question.project)
    profile_of, plans = recorded_profiles(targets), scope.plans
    outputs = OutputCache(workspace)
    gatherer = Gatherer(outputs, view, site_of, question.period, profile_of, now_s)
    gathered = gatherer.gather(plans)
    events = _by_kind(view.selected())
    reader = Reader(outputs, gathered, events.get(ProgressMade, {}))
    chains = [reader.chain(plan) for plan in plans]
    outputs.keep()
    everything = all_attempts(gathered.values())
    total = cost_of(everything)
    method = quotable_method(chain.cost.energy for chain in chains)
    released = released_of(workspace, chains, gathered, question.project)
    stages = {stage_id: one.stage for stage_id, one in gathered.items()}
    hardware = hardware_of(everything, profile_of)
    quoted = total.energy_by(method)
    return Report(
        title=scope.title,
        sweep=scope.sweep,
        workspace=str(workspace.root),
        generated_s=now_s,
        version=installed("detour") or "of a source tree",
        period=question.period,
        owner=_owner(question.project),
        chains=chains,
        stages=stages,
        total=total,
        hardware=hardware,
        burns=burn_downs(view, question.budgets, everything, question.period, now_s),
        by_period=by_period(everything, question.period.time_zone, method),
        waste=waste_by_cause(everything),
        intervals=_intervals(gathered.values(), events.get(CheckpointSaved, {}), question.period),
        token_yields=token_yields(chains, stages, method, total.has_gpus),
        point_costs=point_costs(chains, method, total.has_gpus) if len(chains) > 1 else [],
        grid=grid_of(plans) if len(plans) > 1 else None,
        waits=_waits(view, gathered, question.period, now_s),
        accuracy=_accuracy(workspace, view, gathered, question.period),
        purposes=_purposes(gathered, chains, released.final),
        released=released.chains,
        reconciliation=None if site_figure is None else reconcile(site_figure, everything),
        quality=quality_rows(everything, total, len(view.warnings)),
        asides=asides(everything, quoted.method if quoted else None),
        equivalents=_equivalents(question.project, quoted),
        versions=versions_of([one.provenance for one in gathered.values() if one.provenance]),
        warnings=[
            *question.said,
            *unread_sentence(gatherer.unread),
            *_simulations(hardware),
            *_cuts(chains, stages),
            *released.warnings,
            *_setbacks(everything, stages, events),
            *unread_hours(map(site_of, dict.fromkeys(one.cluster for one in everything))),
            *view.warnings,
        ],
    )


def _cuts(chains: Sequence[data.Chain], stages: Mapping[str, data.Stage]) -> list[str]:
    cut = [chain.name for chain in chains if data.is_cut(chain, stages)]
    if not cut:
        return []
    part = "part of" if any(stage.attempts for stage in stages.values()) else "all of"
    return [
        f"{part} the work on {listed(cut, 4)} lies outside of the period: figures about all of it (a point of score, "
        "tokens per kWh, model card, Annex XI) are left out"
    ]


def _setbacks(attempts: Sequence[Counted], stages: Mapping[str, data.Stage], events: Events) -> list[str]:
    """Return messages on incidents and implausible energy, for readers of the figures."""
    labels = {stage_id: stage.label for stage_id, stage in stages.items()}
    entries = [entry for kind in INCIDENTS for of_stage in events.get(kind, {}).values() for entry in of_stage]
    return [*energy_warnings(attempts, labels), *incidents(entries, labels)]


def _by_kind(entries: Iterable[Entry[Any]]) -> Events:
    found: Events = {}
    for entry in entries:
        found.setdefault(type(entry.event), {}).setdefault(entry.stage or "", []).append(entry)
    return found


def _purposes(
    gathered: Mapping[str, Gathered], chains: Sequence[data.Chain], final: Collection[str]
) -> list[PurposeRow]:
    undecided = {
        stage_id for chain in chains if chain.model is None and chain.status in OPEN for stage_id in chain.stages
    }
    return purpose_rows({stage_id: one.attempts for stage_id, one in gathered.items()}, final, undecided)


def _intervals(
    gathered: Iterable[Gathered], saves: Mapping[str, list[Entry[CheckpointSaved]]], period: Period
) -> list[Interval]:
    """Return the checkpoint intervals by phase name and cluster, from attempts that the period does not cut."""
    groups = grouped(
        ((one.stage.name, one.attempts[-1].cluster or "unknown"), one)
        for one in gathered
        if one.stage.kind == "pretrain" and one.attempts
    )
    rows = []
    for (name, cluster), trained in groups.items():
        by_attempt = grouped(
            ((entry.stage, entry.attempt), (entry.wall_s, entry.event.save_s))
            for one in trained
            for entry in saves.get(one.stage.id, ())
        )
        spans = ((one, one.usage.start_s, one.usage.end_s) for one in all_attempts(trained))
        whole = [one for one, start_s, end_s in spans if start_s != period.since_s and end_s != period.until_s]
        if whole:
            rows.append(interval(name, cluster, whole, [sorted(saved) for saved in by_attempt.values()]))
    return rows


def _waits(view: LedgerView, gathered: Mapping[str, Gathered], period: Period, now_s: float) -> list[WaitRow]:
    """Return the waits of all starts in the period, from the whole attempts: it may cut theirs or the one before."""
    accepted_s = _accepted_s(view)
    waits: dict[tuple[str, str], list[float]] = {}
    for one in gathered.values():
        inputs = [view.state.stage(stage_id).released_s for stage_id in one.planned.inputs.values()]
        before_s = None
        for attempt in one.known.runs:
            usage = usage_of(one.planned.id, attempt, now_s)
            if usage is None:
                continue
            sent_s = accepted_s.get((one.planned.id, (attempt.job or "").partition("_")[0]))
            since_s = eligible_s(sent_s, inputs, before_s)
            if since_s is not None and period.holds(usage.start_s):
                waits.setdefault((attempt.cluster or "unknown", one.stage.kind), []).append(usage.start_s - since_s)
            before_s = usage.end_s
    return wait_rows(waits)


def _accepted_s(view: LedgerView) -> Mapping[tuple[str, str], float]:
    """Stage and job id -> when Slurm accepted the job: another cluster may use the id."""
    stages = {
        tag: {stage for task in entry.event.tasks for stage in task}
        for entry in view.commands(JobIntended)
        for tag in entry.event.tags
    }
    return {
        (stage, entry.event.job_id): entry.wall_s
        for entry in view.commands(JobAccepted)
        for tag in entry.event.tags
        for stage in stages.get(tag, ())
    }


def _accuracy(
    workspace: Workspace, view: LedgerView, gathered: Mapping[str, Gathered], period: Period
) -> list[Accuracy]:
    quoted = quotes(view.commands(ChainPriced))
    planned = {stage_id: one.planned for stage_id, one in gathered.items() if stage_id in quoted}
    finished = [one for one in finished_stages(workspace, view.state, planned) if period.holds(one.ended_s)]
    return accuracy(compare(finished, quoted))


def _owner(project: Project | None) -> Owner | None:
    if project is None:
        return None
    return Owner(project.name, project.grant, project.institution, list(project.people))


def _equivalents(project: Project | None, quoted: EnergyFigure | None) -> list[Equivalent]:
    if project is None or quoted is None or quoted.co2_g is None:
        return []
    grams = quoted.co2_g.expected
    return [Equivalent(unit.name, grams / unit.grams, unit.source) for unit in project.equivalents]


def _simulations(hardware: Iterable[Hardware]) -> list[str]:
    """Return a warning for each cluster whose GPUs exist in name only, so that its GPU-hours are not real."""
    return [
        f"the GPUs of {one.cluster} are simulated: its GPU-hours, and all estimates based on them, were not really used"
        for one in hardware
        if one.simulated and one.most_gpus
    ]
