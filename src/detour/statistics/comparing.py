"""Compare the models in a table of scores: cells with intervals, and pairs over seeds and over tasks. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from detour.accounting.result_cost import Spent
from detour.errors import UserError
from detour.statistics.comparison import AVERAGE, Cell, Comparison, Difference, OverTasks, Pair, Result
from detour.statistics.paired import FEWEST_TASKS, holm, mean_interval, paired, sign_test, wilcoxon
from detour.statistics.scores import SINGLE, ScoreTable, decimals_of, is_rounded


def compare(table: ScoreTable, against: str | None = None) -> Comparison:
    """Compare all pairs of models, or each model with `against`. Raises UserError if `against` is unknown."""
    if against is not None and against not in table.models:
        raise UserError(f"{against} is none of the models compared: {', '.join(table.models)}")
    gaps = table.gaps()
    incomplete = {(gap.model, gap.task) for gap in gaps}
    cells = {
        model: {task: _cell(table, model, task, (model, task) in incomplete) for task in table.tasks}
        for model in table.models
    }
    averages = {model: _average(table, cells[model]) for model in table.models}
    chosen = (
        list(combinations(table.models, 2))
        if against is None
        else [(model, against) for model in table.models if model != against]
    )
    pairs = [_pair(table, cells, averages, first, second) for first, second in chosen]
    return Comparison(
        metric=table.metric,
        models=table.models,
        tasks=table.tasks,
        cells=cells,
        results=tuple(_results(table)),
        averages=averages,
        pairs=tuple(_adjusted(pairs)),
        gaps=tuple(gaps),
        notes=(*table.notes, *_published_notes(table, averages)),
    )


def _results(table: ScoreTable) -> Iterator[Result]:
    for (model, task), seeds in table.cells.items():
        for seed, score in seeds.items():
            yield Result(model, task, seed, score, table.spent.get((model, task, seed), Spent()))


def _cell(table: ScoreTable, model: str, task: str, is_incomplete: bool) -> Cell:
    seeds = table.seeds(model, task)
    values = [value for value in seeds.values() if value is not None]
    n = 0 if seeds.keys() == SINGLE else len(values)
    if is_incomplete:
        return Cell(model, task, n, None, None, None)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Cell(model, task, n, statistics.fmean(values), deviation, mean_interval(values))


def _average(table: ScoreTable, cells: Mapping[str, Cell]) -> Cell:
    """Return the average of the tasks' means; its spread is that of the averages per seed, if all tasks share seeds."""
    model = next(iter(cells.values())).model
    means = [cell.mean for cell in cells.values()]
    known = [mean for mean in means if mean is not None]
    if len(known) < len(means):
        return Cell(model, AVERAGE, 0, None, None, None)
    by_seed = _seed_averages(table, model)
    deviation = statistics.stdev(by_seed.values()) if len(by_seed) > 1 else None
    return Cell(model, AVERAGE, len(by_seed), statistics.fmean(known), deviation, mean_interval(list(by_seed.values())))


def _seed_averages(table: ScoreTable, model: str) -> dict[int, float]:
    """Return seed -> average over the tasks; empty if tasks have different seeds, or none."""
    rows = [table.seeds(model, task) for task in table.tasks]
    if any(row.keys() != rows[0].keys() or None in row or None in row.values() for row in rows):
        return {}
    return {
        seed: statistics.fmean(value for row in rows if (value := row[seed]) is not None)
        for seed in sorted(seed for seed in rows[0] if seed is not None)
    }


def _pair(
    table: ScoreTable,
    cells: Mapping[str, Mapping[str, Cell]],
    averages: Mapping[str, Cell],
    first: str,
    second: str,
) -> Pair:
    by_task = tuple(_difference(table, cells, first, second, task) for task in table.tasks)
    ours, theirs = _seed_averages(table, first), _seed_averages(table, second)
    of_seeds = [_exact(ours[seed] - theirs[seed]) for seed in ours] if ours and ours.keys() == theirs.keys() else []
    average = Difference(
        AVERAGE, _minus(averages[first], averages[second]), paired(of_seeds) if of_seeds else None, None
    )
    means = [one.mean for one in by_task if one.mean is not None]
    complete = len(means) == len(by_task)
    untested = []
    if not complete:
        lacking = ", ".join(one.task for one in by_task if one.mean is None)
        untested.append(f"no average and no test over tasks, because scores are missing: {lacking}")
    elif len(means) < FEWEST_TASKS:
        there = f"there is {len(means)}" if len(means) == 1 else f"there are {len(means)}"
        untested.append(f"no test over tasks: it takes {FEWEST_TASKS} of them or more, {there}")
    if complete and not of_seeds:
        untested.append("no test over seeds: the scores of the same seeds of both models are needed")
    over_tasks = (
        OverTasks(len(means), sign_test(means), wilcoxon(means)) if complete and len(means) >= FEWEST_TASKS else None
    )
    return Pair(first, second, by_task, average, over_tasks, None, tuple(untested))


def _difference(
    table: ScoreTable, cells: Mapping[str, Mapping[str, Cell]], first: str, second: str, task: str
) -> Difference:
    mean = _minus(cells[first][task], cells[second][task])
    ours, theirs = table.seeds(first, task), table.seeds(second, task)
    if mean is None or None in ours or ours.keys() != theirs.keys():
        return Difference(task, mean, None, None)
    both = [(ours[seed], theirs[seed]) for seed in sorted(seed for seed in ours if seed is not None)]
    return Difference(task, mean, paired([_exact(a - b) for a, b in both if a is not None and b is not None]), None)


def _minus(first: Cell, second: Cell) -> float | None:
    return None if first.mean is None or second.mean is None else _exact(first.mean - second.mean)


def _exact(difference: float) -> float:
    """Round away floating-point noise, which would turn ties into wins and give equal differences a spread."""
    return round(difference, 9)


def _adjusted(pairs: Sequence[Pair]) -> list[Pair]:
    tasks = iter(holm([_p_t(one) for pair in pairs for one in pair.by_task]))
    averages = iter(holm([_p_t(pair.average) for pair in pairs]))
    signs = iter(holm([pair.over_tasks.signs.p_two_sided if pair.over_tasks else None for pair in pairs]))
    return [
        replace(
            pair,
            by_task=tuple(replace(one, p_adjusted=next(tasks)) for one in pair.by_task),
            average=replace(pair.average, p_adjusted=next(averages)),
            p_tasks_adjusted=next(signs),
        )
        for pair in pairs
    ]


def _p_t(difference: Difference) -> float | None:
    return difference.over_seeds.p_t if difference.over_seeds else None


def _published_notes(table: ScoreTable, averages: Mapping[str, Cell]) -> list[str]:
    """Return notes on models whose stated average is not that of their own scores."""
    notes = []
    published = table.published or {}
    for model, stated in published.items():
        mean = averages[model].mean
        if mean is not None and not is_rounded(stated, mean, decimals_of(stated, published.values())):
            notes.append(f"{model}: the source states an average of {stated:g}, its scores give {mean:.2f}")
    return notes
