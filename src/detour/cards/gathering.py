"""Gather the content of a chain's card from its report, its export and evaluations, and its about file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from detour.accounting.energy import Method
from detour.accounting.result_cost import Spent
from detour.accounting.site import profile_sites, recorded_profiles
from detour.cards.about_file import About, TaskAbout
from detour.cards.compute import compute_of
from detour.cards.content import Architecture, Content, Lineage, Phase, Score, Source
from detour.cards.exported import architecture, hub_id
from detour.config.cluster import Cluster
from detour.errors import UserError
from detour.ledger.identity import workspace_id
from detour.ledger.workspace import Workspace
from detour.models.lineage import lineage
from detour.planning.files import read_plan
from detour.planning.plan import Plan
from detour.planning.stage import EvaluateStage, ExportStage, PrepareStage, PretrainStage
from detour.reporting.build import Question, build_report, read
from detour.reporting.data import Chain
from detour.reporting.outputs import read_json
from detour.reporting.report import Report
from detour.statistics.chain_scores import chain_scores
from detour.statistics.comparing import compare
from detour.statistics.comparison import Cell, Comparison
from detour.statistics.scores import ScoreTable, merged, renamed
from detour.statistics.sources import score_tables
from detour.statistics.tables import markdown
from detour.statistics.verdicts import sentences

TYPES = {
    "single_label": ("text-classification", "Text Classification"),
    "multilabel": ("text-classification", "Text Classification"),
    "ner": ("token-classification", "NER"),
}
TYPE_NAMES = dict(TYPES.values())
METRICS = {"macro_f1": ("f1", "macro F1"), "micro_f1": ("f1", "micro F1")}
"""Metric -> its names on the hub and for readers."""


def gather(
    workspace: Workspace,
    chain: str,
    about: About,
    *,
    method: Method | None = None,
    cluster: Cluster | None = None,
) -> Content:
    """Gather everything that the card of a chain states.

    `method` is that of the energy in the metadata, by default the best available; the constants are those of `cluster`,
    by default of each job's own profile. Raises UserError if the chain is unknown, its export is not done, or `about`
    names a task that its benchmark lacks.
    """
    plan, target = read_plan(workspace, chain)
    export = next((stage for stage in plan.stages if isinstance(stage, ExportStage)), None)
    if export is None or not workspace.is_done(export.id):
        raise UserError(
            f"{chain}: its export is not done, so there is no model to describe; "
            f"see `{workspace.command('status', chain)}`"
        )
    _check_tasks(about, plan)
    reading = read(workspace, [chain], None)
    report = build_report(workspace, Question([chain]), profile_sites(reading.targets, cluster), time.time(), reading)
    found = report.chains[0]
    own = _own_scores(workspace, chain, plan, about)
    cells = {} if own is None else compare(own).cells[chain]
    has_results = any(cell.mean is not None for cell in cells.values())
    comparison, warnings = _comparison(workspace, own, plan, about) if own and has_results else (None, ())
    title = about.title or chain
    return Content(
        name=title,
        start=hub_id(_start(plan)),
        architecture=_architecture(workspace.output(export.id)),
        phases=_phases(found),
        sources=tuple(
            Source(one.name, one.counts.get("train_tokens"), one.counts.get("train_documents")) for one in found.sources
        ),
        compute=compute_of(report, found, method, recorded_profiles(reading.targets), target),
        scores=_scores(cells, plan, about, found),
        seeds=_seeds(cells),
        results_table=None if comparison is None else markdown(comparison, {chain: title}),
        findings=() if comparison is None else _findings(comparison, chain, title),
        lineage=_lineage(workspace, chain, export, plan, report, found),
        about=about,
        warnings=warnings,
    )


def _check_tasks(about: About, plan: Plan) -> None:
    tasks = list(dict.fromkeys(stage.task for stage in plan.stages if isinstance(stage, EvaluateStage)))
    if unknown := [name for name in about.tasks if name not in tasks]:
        raise UserError(
            f"the about file names the task {unknown[0]!r}, which is not in the chain's benchmark; "
            f"its tasks: {', '.join(tasks) or 'none'}"
        )


SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "max_position_embeddings", "vocab_size")


def _start(plan: Plan) -> Mapping[str, Any]:
    first = next((stage for stage in plan.stages if isinstance(stage, PretrainStage)), None)
    return {} if first is None else first.runtime.model.as_json


def _architecture(export: Path) -> Architecture | None:
    """Return the architecture of an export, None if its files do not state it."""
    config, record = read_json(export / "config.json"), read_json(export / "export.json")
    sizes, classes = [record.get("parameters"), *map(config.get, SIZES)], config.get("architectures")
    if not all(type(size) is int for size in sizes) or not isinstance(classes, list):
        return None
    return architecture(config, str(record.get("dtype")), record["parameters"])


def _phases(chain: Chain) -> tuple[Phase, ...]:
    return tuple(
        Phase(
            number,
            phase.objective,
            phase.masking_rate,
            phase.tokens,
            phase.steps,
            phase.parent_validation_loss,
            phase.validation_loss,
            phase.frozen,
        )
        for number, phase in enumerate(chain.phases, 1)
    )


def _own_scores(workspace: Workspace, chain: str, plan: Plan, about: About) -> ScoreTable | None:
    """Return the chain's scores under the names to show; None without a benchmark."""
    if not any(isinstance(stage, EvaluateStage) for stage in plan.stages):
        return None
    return renamed(chain_scores(workspace, [chain], about.metric), _shown_tasks(about, plan))


def _comparison(workspace: Workspace, own: ScoreTable, plan: Plan, about: About) -> tuple[Comparison, tuple[str, ...]]:
    """Compare the chain with the models that the about file names. If scores of one are missing, the comparison names
    it, and a warning says why, with paths that are not for publication."""
    shown, tables, missing = _shown_tasks(about, plan), [own], {}
    for word in about.compare_with:
        try:
            tables += [renamed(table, shown) for table in score_tables(workspace, [word], about.metric)]
        except UserError as error:
            missing[Path(word).name] = error
    comparison = compare(merged(tables))
    notes = [f"not compared with {name}: its scores are missing" for name in missing]
    warnings = [f"not compared with {name}: {error}" for name, error in missing.items()]
    return replace(comparison, notes=(*comparison.notes, *notes)), tuple(warnings)


def _shown_tasks(about: About, plan: Plan) -> dict[str, str]:
    """Return task -> name in the about file, except for names that several tasks would have."""
    tasks = dict.fromkeys(stage.task for stage in plan.stages if isinstance(stage, EvaluateStage))
    named = {task: about.tasks[task].name or task if task in about.tasks else task for task in tasks}
    return {task: name for task, name in named.items() if list(named.values()).count(name) == 1}


def _scores(cells: Mapping[str, Cell], plan: Plan, about: About, found: Chain) -> tuple[Score, ...]:
    """Return the scores of complete tasks: a mean over some of the planned seeds is never published."""
    kinds = {stage.task: stage.settings.task.type for stage in plan.stages if isinstance(stage, EvaluateStage)}
    shown = _shown_tasks(about, plan)
    primary = {one.task: one.metric for one in found.scores}
    spent = {one.task: one.spent_in_all for one in found.scores}
    scores = []
    for task, kind in kinds.items():
        cell, words = cells[shown.get(task, task)], about.tasks.get(task, TaskAbout())
        if cell.mean is None:
            continue
        kind_type, kind_name = TYPES[kind]
        metric = about.metric or primary.get(task) or "score"
        hub_metric, metric_name = METRICS.get(metric, (metric, metric.replace("_", " ")))
        scores.append(
            Score(
                task=task,
                type=words.type or kind_type,
                type_name=words.type_name or (TYPE_NAMES[words.type] if words.type else kind_name),
                dataset=words.name or task,
                dataset_type=words.dataset or task,
                metric=hub_metric,
                metric_name=metric_name,
                mean=cell.mean,
                interval=cell.interval,
                seeds=cell.n,
                spent=spent.get(task, Spent()),
            )
        )
    return tuple(scores)


def _seeds(cells: Mapping[str, Cell]) -> int | None:
    counts = {cell.n for cell in cells.values() if cell.mean is not None}
    return counts.pop() if len(counts) == 1 else None


def _findings(comparison: Comparison, chain: str, title: str) -> tuple[str, ...]:
    """Return how this model, under its title, differs from each of the others, then gaps and notes on the data."""
    pairs = [replace(pair, first=title) for pair in comparison.pairs if pair.first == chain]
    said = [sentence for pair in pairs for sentence in sentences(comparison, pair)]
    gaps = [f"missing: {gap._replace(model=title) if gap.model == chain else gap}" for gap in comparison.gaps]
    return (*said, *gaps, *comparison.notes)


def _lineage(
    workspace: Workspace, chain: str, export: ExportStage, plan: Plan, report: Report, found: Chain
) -> Lineage:
    corpus = next((stage.id for stage in plan.stages if isinstance(stage, PrepareStage)), None)
    return Lineage(
        chain=chain,
        workspace=workspace_id(workspace.root),
        export=export.id,
        sha256=found.model_sha256,
        corpus=corpus,
        code=tuple(report.versions.code),
        overridden=tuple(
            f"{step.label}, gate {gate}: {why}"
            for step in lineage(workspace, export.id)
            for gate, why in step.overridden.items()
        ),
        packages={name: ", ".join(versions) for name, versions in report.versions.packages.items()},
    )
