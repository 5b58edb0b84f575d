"""Compare versions of one or several models by the scores of their own evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.models.stages import known_stage
from detour.models.versions import EVALUATION, Version, find_version, model_versions
from detour.planning.stage import EvaluateStage
from detour.statistics.chain_scores import SAID, stage_scores
from detour.statistics.comparing import compare
from detour.statistics.comparison import Comparison
from detour.statistics.scores import Score, ScoreTable


def compare_versions(
    workspace: Workspace, wanted: Sequence[str], metric: str | None = None, *, common: bool = False
) -> Comparison:
    """Compare the given versions, or all versions of a model if a single name without `@` is given.

    With `common`, only the tasks and seeds that all of them have.
    """
    versions = [find_version(workspace, one) for one in wanted]
    if len(wanted) == 1 and "@" not in wanted[0]:
        versions = model_versions(workspace, wanted[0])
    if len({version.export for version in versions}) < 2:
        raise UserError(f"{', '.join(wanted)}: a single version cannot be compared; `detour models` lists them")
    scores = [score for version in versions for score in version_scores(workspace, version, metric)]
    table = ScoreTable.of(scores, metric or SAID)
    return compare(table.common() if common else table)


def version_scores(workspace: Workspace, version: Version, metric: str | None = None) -> list[Score]:
    """Return the scores of a version; empty if no evaluation was planned for it."""
    planned = [known_stage(workspace, stage) for stage in version.stages if stage.startswith(EVALUATION)]
    return stage_scores(workspace, version.name, [one for one in planned if isinstance(one, EvaluateStage)], metric)


class Average(NamedTuple):
    mean: float | None
    """Over the tasks, in points; None without a benchmark or if a score is missing."""
    tasks: int | None
    """None if the evaluations cannot be read."""


def mean_scores(workspace: Workspace, versions: Sequence[Version]) -> dict[str, Average]:
    """Return version name -> average over the tasks of its own benchmark, which may be others than another's."""
    found: dict[str, Average] = {}
    for version in versions:
        try:
            scores = version_scores(workspace, version)
        except UserError:  # one damaged version must not hide the others
            found[version.name] = Average(None, None)
            continue
        averages = compare(ScoreTable.of(scores)).averages if scores else {}
        mean = averages[version.name].mean if averages else None
        found[version.name] = Average(mean, len({score.task for score in scores}))
    return found
