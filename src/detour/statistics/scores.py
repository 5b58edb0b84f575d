"""Scores by model, task and seed, in points (100 is the best), and the gaps among them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, sqrt
from typing import NamedTuple

from detour.accounting.result_cost import Spent
from detour.errors import UserError

Seeds = Mapping[int | None, float | None]
"""Seed -> score, None if missing; the seed None stands for a single figure without seeds."""
SINGLE = frozenset({None})


class Score(NamedTuple):
    model: str
    task: str
    seed: int | None
    value: float | None
    """None if planned, or listed without a figure."""
    spent: Spent = Spent()
    """Cost of the evaluation; unknown for scores from files."""


LARGEST_SCORE = 1e6
"""Upper bound on scores; no metric exceeds it, so larger figures are damaged data."""


def as_score(value: object) -> float | None:
    """Return a value that a metric can have, possibly negative (a correlation); None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST_SCORE:
        return None
    return float(value)


class Gap(NamedTuple):
    """Scores that one model lacks on one task: some seeds, or all (no seeds listed)."""

    model: str
    task: str
    seeds: tuple[int, ...] = ()

    def __str__(self) -> str:
        which = f", seed{'s' * (len(self.seeds) > 1)} {', '.join(map(str, self.seeds))}" if self.seeds else ""
        return f"{self.model}: {self.task}{which}"


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """All scores of a comparison. A cell that lacks a seed that another model has is a gap, and has no mean."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    cells: Mapping[tuple[str, str], Seeds]
    metric: str | None = None
    published: Mapping[str, float] | None = None
    """Model -> average stated by the source."""
    notes: tuple[str, ...] = ()
    """Notes for readers of the scores."""
    spent: Mapping[tuple[str, str, int | None], Spent] = field(default_factory=dict)
    """Cost by model, task and seed."""

    @classmethod
    def of(
        cls,
        scores: Iterable[Score],
        metric: str | None = None,
        published: Mapping[str, float] | None = None,
        notes: Sequence[str] = (),
    ) -> ScoreTable:
        """Build a table. Raises UserError for two scores of the same model, task and seed."""
        cells: dict[tuple[str, str], dict[int | None, float | None]] = {}
        spent = {}
        for model, task, seed, value, took in scores:
            cell = cells.setdefault((model, task), {})
            if seed in cell:
                which = "two scores" if seed is None else f"two scores of seed {seed}"
                raise UserError(f"{model}: {task} has {which}; keep one of them")
            cell[seed] = value if value is not None and isfinite(value) else None
            spent[model, task, seed] = took
        models = tuple(dict.fromkeys(model for model, _ in cells))
        tasks = tuple(dict.fromkeys(task for _, task in cells))
        return cls(models, tasks, cells, metric, published, tuple(notes), spent)

    def seeds(self, model: str, task: str) -> Seeds:
        return self.cells.get((model, task), {})

    def gaps(self) -> list[Gap]:
        found = (self._gap(model, task) for model in self.models for task in self.tasks)
        return [gap for gap in found if gap is not None]

    def _gap(self, model: str, task: str) -> Gap | None:
        cell = self.seeds(model, task)
        there = {seed for seed, value in cell.items() if value is not None}
        if not there:
            return Gap(model, task)
        if there == SINGLE:
            return None
        expected = {seed for other in self.models for seed in self.seeds(other, task) if seed is not None}
        missing = tuple(sorted(expected - {seed for seed in there if seed is not None}))
        return Gap(model, task, missing) if missing else None

    def common(self) -> ScoreTable:
        """Return the table restricted to tasks and seeds that all models have; the notes state what is left out.

        Raises UserError if nothing is left.
        """
        kept, left_out = {}, []
        for task in self.tasks:
            there = [{s for s, v in self.seeds(model, task).items() if v is not None} for model in self.models]
            shared = set.intersection(*there)
            if dropped := set.union(*there) - shared:
                named = ", ".join(str(seed) for seed in sorted(seed for seed in dropped if seed is not None))
                left_out.append(f"{task} (seeds: {named})" if shared and named else task)
            for model in self.models if shared else ():
                kept[model, task] = {seed: self.seeds(model, task)[seed] for seed in shared}
        if not kept:
            raise UserError("the models have no task and seed in common; nothing can be compared")
        notes = (
            (*self.notes, f"left out, because not all models have it: {'; '.join(left_out)}")
            if left_out
            else self.notes
        )
        tasks = tuple(dict.fromkeys(task for _, task in kept))
        published = self.published if tasks == self.tasks else None
        return ScoreTable(self.models, tasks, kept, self.metric, published, notes, self.spent)


def renamed(table: ScoreTable, names: Mapping[str, str]) -> ScoreTable:
    """Return the table with other names for some tasks, also where notes begin with them."""
    return replace(
        table,
        tasks=tuple(dict.fromkeys(names.get(task, task) for task in table.tasks)),
        cells={(model, names.get(task, task)): cell for (model, task), cell in table.cells.items()},
        notes=tuple(_renamed_note(note, names) for note in table.notes),
        spent={(model, names.get(task, task), seed): one for (model, task, seed), one in table.spent.items()},
    )


def _renamed_note(note: str, names: Mapping[str, str]) -> str:
    task, colon, rest = note.partition(": ")
    return f"{names.get(task, task)}{colon}{rest}"


def merged(sources: Sequence[ScoreTable]) -> ScoreTable:
    """Merge the tables of several sources, whose tasks are the same if their names have equal letters and digits.

    Raises UserError for a model in two of them, or different metrics.
    """
    tables = list(_aligned(sources))
    models = [model for table in tables for model in table.models]
    if twice := next((model for model in models if models.count(model) > 1), None):
        raise UserError(f"{twice} is in two of the sources: name it once, or rename it in the file")
    metrics = dict.fromkeys(table.metric for table in tables if table.metric)
    if len(metrics) > 1:
        raise UserError(f"the sources have different metrics: {', '.join(metrics)}; choose one with --metric")
    return ScoreTable(
        models=tuple(models),
        tasks=tuple(dict.fromkeys(task for table in tables for task in table.tasks)),
        cells={place: cell for table in tables for place, cell in table.cells.items()},
        metric=next(iter(metrics), None),
        published={model: value for table in tables for model, value in (table.published or {}).items()},
        notes=tuple(dict.fromkeys(note for table in tables for note in table.notes)),
        spent={place: spent for table in tables for place, spent in table.spent.items()},
    )


def _aligned(tables: Iterable[ScoreTable]) -> Iterator[ScoreTable]:
    """Yield the tables with each task under the name that it has in the first of them, such as `emea` for `EMEA`."""
    known: dict[str, str] = {}
    for table in tables:
        keys = {task: re.sub(r"[\W_]", "", task.casefold()) for task in table.tasks}
        alike = Counter(keys.values())
        names = {
            task: known[key]
            for task, key in keys.items()
            if alike[key] == 1 and key in known and known[key] not in table.tasks
        }
        known = {key: names.get(task, task) for task, key in keys.items() if alike[key] == 1} | known
        notes = [f"{task} is taken for {name}" for task, name in names.items()]
        yield replace(renamed(table, names), notes=(*table.notes, *notes)) if names else table


def in_points(scores: Sequence[Score]) -> list[Score]:
    """Convert fractions to points: a source whose scores are all between 0 and 1 holds fractions."""
    values = [score.value for score in scores if score.value is not None and isfinite(score.value)]
    if not values or min(values) < 0 or max(values) > 1:
        return list(scores)
    return [score._replace(value=None if score.value is None else 100 * score.value) for score in scores]


def mixed_scales(scores: Sequence[Score]) -> list[str]:
    """Return a note if all scores of some models could be fractions while others are above 1, otherwise none."""
    highest: dict[str, float] = {}
    for score in scores:
        if score.value is not None and isfinite(score.value):
            highest[score.model] = max(score.value, highest.get(score.model, score.value))
    fractions = [model for model, value in highest.items() if 0 < value <= 1]
    if not fractions or len(fractions) == len(highest):
        return []
    return [f"all scores of {', '.join(fractions)} are at most 1, others are above: are they fractions? All are points"]


def decimals_of(figure: float, beside: Iterable[float]) -> int:
    """Return the number of decimals of a figure as written, inferring trailing zeros from the figures `beside` it."""
    return max(_decimals(figure), min(filter(None, map(_decimals, beside)), default=0))


def _decimals(figure: float) -> int:
    return len(f"{figure:.10g}".partition(".")[2])


def is_rounded(figure: float, exact: float, decimals: int, slack: float = 0.0) -> bool:
    """Whether `figure` is `exact` rounded to `decimals`; a half may go up or down, and `exact` be off by `slack`."""
    return abs(figure - exact) <= 0.5 * 10.0**-decimals + slack + 1e-9


def rounding_slack(table: ScoreTable, tasks: int, models: int = 1) -> float:
    """Return how far a mean over printed scores may be from that over exact ones, for a difference of two models twice.

    Three standard deviations of the mean of independent rounding errors, but at most the largest error there can be.
    """
    figures = [value for cell in table.cells.values() for value in cell.values() if value is not None]
    half: float = 0.5 * 10.0 ** -max(map(_decimals, figures), default=0)
    return min(models * half, half * sqrt(3 * models / tasks))
