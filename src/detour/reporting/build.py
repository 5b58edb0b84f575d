"""Puts a report together: plans and outputs of the workspace, what the ledger holds, constants of the profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from detour.accounting.attempts import figures_of, usage_of
from detour.accounting.fates import fates_s
from detour.accounting.methods import number
from detour.accounting.site import simulated_gpus
from detour.accounting.traces import Spans, spans_in
from detour.errors import UserError
from detour.ledger.events import ProgressMade
from detour.ledger.reading import history
from detour.ledger.record import Entry
from detour.ledger.state import StageState, StageStatus
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.liveness import Evidence, Marker, stage_status
from detour.planning.build import Plan
from detour.planning.files import read_plan
from detour.planning.stage import PretrainStage
from detour.planning.stage import Stage as PlannedStage
from detour.reporting import data
from detour.reporting.costs import Counted, cost_of, energy_warnings
from detour.reporting.curves import curves_of, median_of
from detour.reporting.incidents import INCIDENTS, incidents
from detour.reporting.outputs import CORPUS_INDEX, chains_by_age, read_json, scores_of, source_counts, versions_of
from detour.site import Site

GRAVEST_FIRST: tuple[StageStatus, ...] = (
    "failed",
    "running",
    "interrupted",
    "cancelled",
    "unknown",
    "submitted",
    "planned",
)
SiteOf = Callable[[str | None], Site]
"""Name of a cluster profile (None: not recorded) -> its constants."""


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What the ledger and the workspace say about one stage."""

    stage: data.Stage
    attempts: list[Counted]
    manifest: Mapping[str, Any]


def build_report(workspace: Workspace, names: Sequence[str], site_of: SiteOf, now_s: float) -> data.Report:
    """The report of some chains, of all when none is named. Raises UserError for a chain that is not there."""
    chosen = list(dict.fromkeys(names)) or chains_by_age(workspace)
    if not chosen:
        raise UserError(
            f"no chain in {workspace.root} yet: `detour run RECIPE` makes one, --workspace names another place"
        )
    plans = [read_plan(workspace, name)[0] for name in chosen]
    view = LedgerView(workspace)
    state = view.state
    evidence, spans = Evidence(now_s, state.writers), spans_in(state)
    users: dict[str, list[str]] = {}
    planned: dict[str, PlannedStage] = {}
    for plan in plans:
        for stage in plan.stages:
            users.setdefault(stage.id, []).append(plan.chain)
            planned[stage.id] = stage
    gathered = {
        stage_id: _gather(workspace, stage, users[stage_id], state.stages.get(stage_id), site_of, evidence, spans)
        for stage_id, stage in planned.items()
    }
    events = history(workspace, (ProgressMade, *INCIDENTS))
    progress = _by_stage([entry for entry in events if isinstance(entry.event, ProgressMade)])
    everything = [attempt for one in gathered.values() for attempt in one.attempts]
    setbacks = [entry for entry in events if isinstance(entry.event, INCIDENTS)]
    warnings = [*_simulations(everything), *energy_warnings(everything)]
    warnings += incidents(setbacks, {stage_id: stage.label for stage_id, stage in planned.items()})
    warnings += view.warnings
    return data.Report(
        workspace=str(workspace.root),
        generated_s=now_s,
        version=version("detour"),
        chains=[_chain(workspace, plan, gathered, progress) for plan in plans],
        stages={stage_id: one.stage for stage_id, one in gathered.items()},
        total=cost_of(everything),
        versions=versions_of([one.manifest for one in gathered.values() if one.manifest]),
        warnings=warnings,
    )


def _gather(
    workspace: Workspace,
    planned: PlannedStage,
    users: list[str],
    known: StageState | None,
    site_of: SiteOf,
    evidence: Evidence,
    spans: Spans,
) -> _Gathered:
    attempts, counted = [], []
    for attempt in known.attempts if known else []:
        usage = usage_of(planned.id, attempt, evidence.now_s)
        if usage is None or attempt.started is None:
            continue
        node, cluster = attempt.started.event.node, attempt.started.event.cluster
        counted.append(Counted(usage, figures_of(attempt, usage, site_of(cluster), spans), node, cluster))
        attempts.append(
            data.AttemptRow(
                number=attempt.number or 0,
                job=attempt.job,
                node=node,
                cluster=cluster,
                started_s=usage.start_s,
                elapsed_s=usage.allocated_s,
                outcome=attempt.outcome or ("running" if usage.running else "lost"),
                reason=attempt.reason,
                gpus=usage.gpus,
                cpus=usage.cpus,
                fates_s=fates_s(usage),
            )
        )
    manifest = read_json(workspace.manifest(planned.id))
    failure = read_json(workspace.failure(planned.id))
    stage = data.Stage(
        id=planned.id,
        kind=planned.kind,
        label=planned.label,
        status=_status(workspace, planned.id, known, evidence),
        reason=_text(failure.get("reason")) or (known.reason if known else None),
        chains=users,
        attempts=attempts,
        cost=cost_of(counted),
        output_sha256=_text(manifest.get("sha256")),
    )
    return _Gathered(stage, counted, manifest)


def _status(workspace: Workspace, stage_id: str, known: StageState | None, evidence: Evidence) -> StageStatus:
    """The word that `detour status` has for it, where no scheduler is asked."""
    failed: Marker | None = "failed" if workspace.has_failed(stage_id) else None
    return stage_status(known, "done" if workspace.is_done(stage_id) else failed, evidence)


def _chain(
    workspace: Workspace,
    plan: Plan,
    gathered: Mapping[str, _Gathered],
    progress: Mapping[str, list[Entry[ProgressMade]]],
) -> data.Chain:
    stages = plan.stages
    mine = [gathered[stage.id] for stage in stages]
    usages = [attempt.usage for one in mine for attempt in one.attempts]
    by_kind = {stage.kind: stage for stage in stages}
    promotion, export = by_kind.get("promote"), by_kind.get("export")
    corpus = read_json(workspace.output(by_kind["prepare"].id) / CORPUS_INDEX) if "prepare" in by_kind else {}
    exported = export is not None and workspace.is_done(export.id)
    return data.Chain(
        name=plan.chain,
        status=_chain_status([one.stage.status for one in mine]),
        stages=[stage.id for stage in stages],
        phases=[_phase(workspace, stage, stages, progress) for stage in stages if isinstance(stage, PretrainStage)],
        scores=scores_of(workspace, stages),
        cost=cost_of([attempt for one in mine for attempt in one.attempts]),
        parameters=_whole(_promotion(workspace, promotion).get("parameters")) if promotion else None,
        corpus_tokens=_corpus_tokens(corpus),
        sources=source_counts(corpus),
        started_s=min((usage.start_s for usage in usages), default=None),
        ended_s=None
        if any(usage.running for usage in usages)
        else max((usage.end_s for usage in usages), default=None),
        model=str(workspace.output(export.id)) if export is not None and exported else None,
        model_sha256=gathered[export.id].stage.output_sha256 if export is not None and exported else None,
    )


def _simulations(attempts: Iterable[Counted]) -> list[str]:
    """Of clusters whose GPUs exist in name only: their GPU-hours are no use of GPUs."""
    clusters = dict.fromkeys(one.cluster for one in attempts if one.usage.gpus)
    return [
        f"the GPUs of {cluster} are simulated: its GPU-hours, and what is estimated from them, were not really used"
        for cluster in clusters
        if simulated_gpus(cluster)
    ]


def _chain_status(statuses: Sequence[StageStatus]) -> StageStatus:
    """The word of the stage that matters most."""
    return next((status for status in GRAVEST_FIRST if status in statuses), "done")


def _phase(
    workspace: Workspace,
    stage: PretrainStage,
    stages: Sequence[PlannedStage],
    progress: Mapping[str, list[Entry[ProgressMade]]],
) -> data.Phase:
    phase, runtime = stage.settings.phase, stage.runtime
    promoted = [one for one in stages if one.kind == "promote" and stage.id in one.inputs.values()]
    promotion = _promotion(workspace, promoted[0]) if promoted else {}
    curves = curves_of(progress.get(stage.id, []))
    return data.Phase(
        name=phase.name,
        stage=stage.id,
        objective=phase.objective,
        tokens=runtime.tokens,
        steps=runtime.steps,
        warmup_steps=runtime.warmup_steps,
        masking_rate=phase.masking_rate,
        schedule=phase.schedule.kind,
        peak_lr=stage.settings.optimizer.lr,
        frozen=", ".join(f"layers {part.first}-{part.last}" for part in phase.freeze) or None,
        curves=curves,
        tokens_per_s=median_of(curves.get("tokens_per_s")),
        validation_loss=number(promotion.get("validation_loss")),
        parent_validation_loss=number(promotion.get("parent_validation_loss")),
    )


def _promotion(workspace: Workspace, stage: PlannedStage) -> dict[str, Any]:
    return read_json(workspace.output(stage.id) / "promotion.json")


def _corpus_tokens(index: Mapping[str, Any]) -> int | None:
    sources = index.get("sources")
    counts = [_whole(source.get("train_tokens")) for source in sources.values()] if isinstance(sources, dict) else []
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _by_stage(listed: Sequence[Entry[ProgressMade]]) -> dict[str, list[Entry[ProgressMade]]]:
    found: dict[str, list[Entry[ProgressMade]]] = {}
    for entry in listed:
        found.setdefault(entry.stage or "", []).append(entry)
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: object) -> int | None:
    return value if type(value) is int else None
