"""Scores of a workspace's chains, from the results of their evaluations; a planned seed without a result is a gap."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from detour.accounting.account import chain_energies
from detour.accounting.result_cost import Spent
from detour.accounting.site import planned_targets, profile_sites
from detour.errors import UserError
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.planning.files import read_plan, read_plan_outline
from detour.planning.stage import EvaluateStage
from detour.site import Site
from detour.statistics.scores import Score, ScoreTable, as_score

PRIMARY = "primary"
"""Each task's own metric, by which its best epoch was chosen."""
SAID = "each task's primary metric"


def chain_scores(
    workspace: Workspace,
    chains: Sequence[str],
    metric: str | None = None,
    site_of: Callable[[str | None], Site] | None = None,
) -> ScoreTable:
    """Return test scores in points, with their cost; `site_of` maps a profile to its constants, by default its own.

    Raises UserError for an unknown chain, one without a benchmark, or an unknown metric.
    """
    outlines = [read_plan_outline(workspace, chain) for chain in chains]
    sites = site_of or profile_sites(planned_targets(workspace))
    energies = chain_energies(LedgerView(workspace).state, outlines, sites, time.time())
    scores: list[Score] = []
    notes: dict[str, None] = {}
    for chain, energy in zip(chains, energies, strict=True):
        stages = [stage for stage in read_plan(workspace, chain)[0].stages if isinstance(stage, EvaluateStage)]
        if not stages:
            raise UserError(f"{chain} has no benchmark, so it has no scores to compare")
        spent = {stage.outline.id: Spent.of(stage.sites) for stage in energy.stages}
        scores += stage_scores(workspace, chain, stages, metric, spent)
        for stage in stages:
            notes |= {f"{stage.task}: {note}": None for note in _texts(_result(workspace, stage).get("notes"))}
    return ScoreTable.of(scores, SAID if metric in (None, PRIMARY) else metric, None, list(notes))


def stage_scores(
    workspace: Workspace,
    model: str,
    stages: Iterable[EvaluateStage],
    metric: str | None = None,
    spent: Mapping[str, Spent] = MappingProxyType({}),
) -> list[Score]:
    """Return one score per evaluation, None if there is no result yet; `spent` is the cost by stage id."""
    return [
        Score(
            model,
            stage.task,
            stage.seed,
            _value(model, stage.task, _result(workspace, stage), metric),
            spent.get(stage.id, Spent()),
        )
        for stage in stages
    ]


def _result(workspace: Workspace, stage: EvaluateStage) -> Mapping[str, Any]:
    return _read(workspace, stage) if workspace.is_done(stage.id) else {}


def _read(workspace: Workspace, stage: EvaluateStage) -> Mapping[str, Any]:
    path = workspace.output(stage.id) / "result.json"
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UserError(f"{path}: not a result written by detour ({error}); `detour retry` makes it again") from error
    return content if isinstance(content, dict) else {}


def _value(chain: str, task: str, result: Mapping[str, Any], metric: str | None) -> float | None:
    if not result:
        return None
    test = result.get("test")
    given = test.items() if isinstance(test, dict) else ()
    known = {name: score for name, value in given if (score := as_score(value)) is not None}
    name = str(result.get("primary_metric") if metric in (None, PRIMARY) else metric)
    if name not in known:
        raise UserError(f"{chain}: {task} has no metric {name!r}; it has {', '.join(known) or 'none'}")
    return 100 * known[name]


def _texts(value: object) -> list[str]:
    return list(map(str, value)) if isinstance(value, list) else []
