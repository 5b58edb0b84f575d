"""A comparison of models, as data: each cell with its interval, each pair of models over seeds and over tasks.

Two questions are kept apart. *Over seeds*: do the models differ on this task, or on the average of the tasks, by more
than the variation between fine-tuning seeds? *Over tasks*: does one win on more tasks than expected by chance?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detour.accounting.result_cost import Spent
from detour.statistics.paired import CONFIDENCE, POWER, Interval, Paired, Signs
from detour.statistics.scores import Gap

AVERAGE = "average"
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """One model's score on one task with one seed, in points, and its cost."""

    model: str
    task: str
    seed: int | None
    score: float | None
    spent: Spent


@dataclass(frozen=True, slots=True)
class Cell:
    """One model's scores on one task, or the average over the tasks; the mean is None if any score is missing."""

    model: str
    task: str
    n: int
    """Number of seeds with a score; 0 for a single figure without seeds."""
    mean: float | None
    standard_deviation: float | None
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class OverTasks:
    """Tests over the means of the tasks, each task counted once."""

    tasks: int
    signs: Signs
    p_wilcoxon: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference `first` - `second` on one task, or on the average of all."""

    task: str
    mean: float | None
    over_seeds: Paired | None
    p_adjusted: float | None
    """p of the paired t-test, adjusted by Holm within its family: all tasks and pairs, or the averages of all pairs."""


@dataclass(frozen=True, slots=True)
class Pair:
    first: str
    second: str
    by_task: tuple[Difference, ...]
    average: Difference
    over_tasks: OverTasks | None
    p_tasks_adjusted: float | None
    """p of the two-sided sign test over tasks, adjusted by Holm over all pairs."""
    untested: tuple[str, ...]
    """Tests that could not be made for this pair, with reasons."""

    @property
    def distinguishable(self) -> bool:
        """Whether the averages differ significantly over seeds, or else over tasks in the same direction.

        Because of a single task, the better average can be that of the model that loses most tasks.
        """
        if self.average.p_adjusted is not None:
            return self.average.p_adjusted < ALPHA
        if self.over_tasks is None or self.p_tasks_adjusted is None or self.average.mean is None:
            return False
        signs = self.over_tasks.signs
        return self.p_tasks_adjusted < ALPHA and self.average.mean * (signs.wins - signs.losses) > 0

    def distinguishable_on(self, task: str) -> bool:
        if task == AVERAGE:
            return self.distinguishable
        return any(one.task == task and one.p_adjusted is not None and one.p_adjusted < ALPHA for one in self.by_task)


@dataclass(frozen=True, slots=True)
class Comparison:
    metric: str | None
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    cells: Mapping[str, Mapping[str, Cell]]
    """Model -> task -> cell."""
    results: tuple[Result, ...]
    """The scores behind the cells."""
    averages: Mapping[str, Cell]
    pairs: tuple[Pair, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]
    confidence: float = CONFIDENCE
    alpha: float = ALPHA
    power: float = POWER

    def best(self, task: str) -> tuple[str, ...]:
        """Return the models with the highest mean on a task or on `average`; none if any mean is missing."""
        column = {model: self.cell(model, task).mean for model in self.models}
        known = {model: mean for model, mean in column.items() if mean is not None}
        if not known or len(known) < len(column):
            return ()
        return tuple(model for model, mean in known.items() if mean == max(known.values()))

    def bold(self, task: str) -> str | None:
        """Return the best model, if all others are distinguishable from it."""
        match self.best(task):
            case (model,):
                mine = [pair for pair in self.pairs if model in (pair.first, pair.second)]
                compared = len(mine) == len(self.models) - 1 > 0
                return model if compared and all(pair.distinguishable_on(task) for pair in mine) else None
        return None

    def cell(self, model: str, task: str) -> Cell:
        return self.averages[model] if task == AVERAGE else self.cells[model][task]
