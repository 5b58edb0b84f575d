"""Scores of a workspace's chains, from what their evaluations left; a planned seed without a result is a gap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import read_plan
from detour.planning.stage import EvaluateStage
from detour.statistics.scores import Score, ScoreTable

PRIMARY = "primary"
"""Each task's own: the one that chose its best epoch."""
SAID = "each task's primary metric"


def chain_scores(workspace: Workspace, chains: Sequence[str], metric: str | None = None) -> ScoreTable:
    """Test scores in points. Raises UserError for an unknown chain, one without a benchmark, or an unknown metric."""
    scores: list[Score] = []
    notes: dict[str, None] = {}
    for chain in chains:
        stages = [stage for stage in read_plan(workspace, chain)[0].stages if isinstance(stage, EvaluateStage)]
        if not stages:
            raise UserError(f"{chain} has no benchmark, so it has no scores to compare")
        scores += stage_scores(workspace, chain, stages, metric)
        for stage in stages:
            notes |= {f"{stage.task}: {note}": None for note in _texts(_result(workspace, stage).get("notes"))}
    return ScoreTable.of(scores, SAID if metric in (None, PRIMARY) else metric, None, list(notes))


def stage_scores(
    workspace: Workspace, model: str, stages: Iterable[EvaluateStage], metric: str | None = None
) -> list[Score]:
    """One an evaluation, under the model's name; None where there is no result yet."""
    return [
        Score(model, stage.task, stage.seed, _value(model, stage.task, _result(workspace, stage), metric))
        for stage in stages
    ]


def _result(workspace: Workspace, stage: EvaluateStage) -> Mapping[str, Any]:
    return _read(workspace, stage) if workspace.is_done(stage.id) else {}


def _read(workspace: Workspace, stage: EvaluateStage) -> Mapping[str, Any]:
    path = workspace.output(stage.id) / "result.json"
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UserError(f"{path}: not a result as detour writes it ({error}); `detour retry` makes it again") from error
    return content if isinstance(content, dict) else {}


def _value(chain: str, task: str, result: Mapping[str, Any], metric: str | None) -> float | None:
    if not result:
        return None
    test = result.get("test")
    known = {name: value for name, value in test.items() if _is_number(value)} if isinstance(test, dict) else {}
    name = result.get("primary_metric") if metric in (None, PRIMARY) else metric
    if name not in known:
        raise UserError(f"{chain}: {task} has no metric {name!r}; it has {', '.join(known) or 'none'}")
    return 100 * float(known[str(name)])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: object) -> list[str]:
    return list(map(str, value)) if isinstance(value, list) else []
