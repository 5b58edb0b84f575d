"""Chains and their phases, from plans, outputs and progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detour.accounting.methods import number
from detour.config.models import frozen_in_words
from detour.flops import expected_context, training_flops_per_token
from detour.ledger.events import ProgressMade
from detour.ledger.record import Entry
from detour.ledger.state import StageStatus
from detour.planning.plan import Plan
from detour.planning.stage import PretrainStage
from detour.planning.stage import Stage as PlannedStage
from detour.pricing.estimates import model_shape
from detour.reporting import data
from detour.reporting.costs import cost_of
from detour.reporting.curves import curves_of, median_of
from detour.reporting.gather import Gathered, all_attempts
from detour.reporting.output_cache import OutputCache
from detour.reporting.outputs import CORPUS_INDEX, read_json, scores_of, source_counts, whole

GRAVEST_FIRST: tuple[StageStatus, ...] = (
    "failed",
    "running",
    "interrupted",
    "cancelled",
    "unknown",
    "submitted",
    "planned",
)
Progress = Mapping[str, list[Entry[ProgressMade]]]


class Reader:
    """Reads chains, and what several of them share only once."""

    def __init__(self, outputs: OutputCache, gathered: Mapping[str, Gathered], progress: Progress) -> None:
        self.outputs, self.workspace, self.gathered, self.progress = outputs, outputs.workspace, gathered, progress
        self._read: dict[str, dict[str, Any]] = {}
        self._phases: dict[str, data.Phase] = {}

    def chain(self, plan: Plan) -> data.Chain:
        stages = plan.stages
        mine = [self.gathered[stage.id] for stage in stages]
        usages = [attempt.usage for one in mine for attempt in one.attempts]
        by_kind = {stage.kind: stage for stage in stages}
        promotion, export = by_kind.get("promote"), by_kind.get("export")
        sources = source_counts(self._output(by_kind["prepare"], CORPUS_INDEX)) if "prepare" in by_kind else []
        exported = export is not None and self.gathered[export.id].stage.status == "done"
        return data.Chain(
            name=plan.chain,
            status=_chain_status([one.stage.status for one in mine]),
            stages=[stage.id for stage in stages],
            phases=[self._phase(stage, stages) for stage in stages if isinstance(stage, PretrainStage)],
            scores=scores_of(self.outputs.result, [(one.planned, one.counted) for one in mine]),
            cost=cost_of(all_attempts(mine)),
            parameters=whole(self._output(promotion, "promotion.json").get("parameters")) if promotion else None,
            corpus_tokens=_corpus_tokens(sources),
            sources=sources,
            started_s=min((usage.start_s for usage in usages), default=None),
            ended_s=None
            if any(usage.running for usage in usages)
            else max((usage.end_s for usage in usages), default=None),
            model=str(self.workspace.output(export.id)) if export is not None and exported else None,
            model_sha256=self.gathered[export.id].stage.output_sha256 if export is not None and exported else None,
        )

    def _phase(self, stage: PretrainStage, stages: Sequence[PlannedStage]) -> data.Phase:
        if stage.id not in self._phases:
            self._phases[stage.id] = self._new_phase(stage, stages)
        return self._phases[stage.id]

    def _new_phase(self, stage: PretrainStage, stages: Sequence[PlannedStage]) -> data.Phase:
        phase, runtime = stage.settings.phase, stage.runtime
        promoted = [one for one in stages if one.kind == "promote" and stage.id in one.inputs.values()]
        promotion = self._output(promoted[0], "promotion.json") if promoted else {}
        curves = curves_of(self.progress.get(stage.id, []))
        known, shape = self.gathered[stage.id].known, model_shape(stage)
        return data.Phase(
            name=phase.name,
            stage=stage.id,
            objective=phase.objective,
            tokens=runtime.tokens,
            tokens_done=known.progress.done if known.progress else None,
            flops_per_token=None
            if shape is None
            else training_flops_per_token(
                shape, phase.objective, phase.masking_rate or 1.0, expected_context(stage.settings.sequence_length)
            ),
            steps=runtime.steps,
            warmup_steps=runtime.warmup_steps,
            masking_rate=phase.masking_rate,
            schedule=phase.schedule.kind,
            peak_lr=stage.settings.optimizer.lr,
            frozen=frozen_in_words(phase.freeze),
            curves=curves,
            tokens_per_s=median_of(curves.get("tokens_per_s")),
            validation_loss=number(promotion.get("validation_loss")),
            parent_validation_loss=number(promotion.get("parent_validation_loss")),
        )

    def _output(self, stage: PlannedStage, name: str) -> dict[str, Any]:
        if stage.id not in self._read:
            self._read[stage.id] = read_json(self.workspace.output_file(stage.id, name))
        return self._read[stage.id]


def _chain_status(statuses: Sequence[StageStatus]) -> StageStatus:
    """Return the status of the most relevant stage."""
    return next((status for status in GRAVEST_FIRST if status in statuses), "done")


def _corpus_tokens(sources: Sequence[data.SourceCounts]) -> int | None:
    counts = [source.counts["train_tokens"] for source in sources]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None
