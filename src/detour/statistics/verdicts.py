"""State the results of a comparison in sentences that claim no more than the figures show."""

from __future__ import annotations

from collections.abc import Iterator

from detour.statistics.comparison import AVERAGE, Comparison, Difference, OverTasks, Pair
from detour.statistics.paired import Interval
from detour.statistics.tables import rounded


def sentences(comparison: Comparison, pair: Pair) -> Iterator[str]:
    """Yield the verdict, then the evidence for it."""
    yield verdict(comparison, pair)
    if len(comparison.tasks) > 1 and pair.average.mean is not None:
        yield _difference(pair.average, f"average of {len(comparison.tasks)} tasks")
    if pair.over_tasks is not None:
        yield _over_tasks(len(comparison.pairs), pair, pair.over_tasks)
    known = [one for one in pair.by_task if one.mean is not None]
    if untested := [f"{one.task} {signed(one.mean)}" for one in known if one.mean is not None and not one.over_seeds]:
        yield f"by task: {', '.join(untested)}"
    yield from (_difference(one, one.task) for one in known if one.over_seeds)
    yield from pair.untested


def verdict(comparison: Comparison, pair: Pair) -> str:
    """Return the verdict on the average, or on the only task."""
    task = AVERAGE if len(comparison.tasks) > 1 else comparison.tasks[0]
    difference = pair.average if task == AVERAGE else pair.by_task[0]
    if difference.mean is None:
        return f"{pair.first} and {pair.second} cannot be compared: scores are missing"
    where = f"on average over {len(comparison.tasks)} tasks" if task == AVERAGE else f"on {task}"
    better, worse = (pair.first, pair.second) if difference.mean >= 0 else (pair.second, pair.first)
    if pair.distinguishable_on(task):
        return f"{better} is better than {worse} by {rounded(abs(difference.mean), 2)} points {where}"
    seeds = difference.over_seeds
    differ = f"differ by {signed(difference.mean)} points" if difference.mean else "have equal scores"
    if seeds is not None and seeds.n > 1 and seeds.p_t is None:
        return f"{pair.first} and {pair.second} {differ} {where}, alike on every seed"
    if pair.over_tasks is None and (seeds is None or seeds.p_t is None):
        return f"{pair.first} and {pair.second} {differ} {where}; nothing can be tested"
    reason = ""
    if seeds is not None and seeds.detectable is not None:
        reason = (
            f": {seeds.n} seeds of this spread find a true difference of {rounded(seeds.detectable, 2)} points "
            f"{comparison.power:.0%} of the time, and smaller ones less often"
        )
    return f"{pair.first} and {pair.second} are not distinguishable {where} ({signed(difference.mean)} points){reason}"


def signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{rounded(abs(value), 2)}"


def p_value(p: float | None) -> str:
    """Format a p-value with two significant digits: `0.0039`; tiny ones as a bound."""
    if p is None:
        return "unknown"
    return "below 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.0995 else f"{p:.2f}"


def p_is(p: float | None) -> str:
    return "p unknown" if p is None else "p < 0.0001" if p < 1e-4 else f"p = {p_value(p)}"


def _difference(difference: Difference, where: str) -> str:
    said = f"{where}: {signed(difference.mean or 0.0)}"
    seeds = difference.over_seeds
    if seeds is None:
        return said
    if seeds.n == 1:
        return f"{said} (a single seed)"
    parts = [f"95 % interval {_interval(seeds.interval)}" if seeds.interval else "no spread among the seeds"]
    parts.append(f"{seeds.signs.wins} of {seeds.n} seeds better")
    if seeds.p_t is not None:
        parts.append(f"paired t-test {p_is(seeds.p_t)}, by Holm {p_value(difference.p_adjusted)}")
    if seeds.p_wilcoxon is not None:
        parts.append(f"Wilcoxon {p_is(seeds.p_wilcoxon)}")
    if seeds.bootstrap is not None:
        parts.append(f"bootstrap {_interval(seeds.bootstrap)}, {p_is(seeds.p_bootstrap)}")
    return f"{said} ({'; '.join(parts)})"


def _over_tasks(pairs: int, pair: Pair, found: OverTasks) -> str:
    """Describe the tests over tasks; one-sided only for the first model, as a side chosen afterwards means nothing."""
    signs = found.signs
    ties = f", {signs.ties} equal" if signs.ties else ""
    said = f"{pair.first} is better on {signs.wins} of {found.tasks} tasks{ties}"
    if signs.p_two_sided is None:
        return f"{said}: nothing to test"
    one_sided = f"{p_is(signs.p_one_sided)} one-sided ({pair.first} better), " if signs.wins > signs.losses else ""
    two_sided = p_value(signs.p_two_sided) if one_sided else p_is(signs.p_two_sided)
    holm = f", {p_value(pair.p_tasks_adjusted)} by Holm over {pairs} pairs" if pairs > 1 else ""
    wilcoxon = f"; Wilcoxon {p_is(found.p_wilcoxon)} two-sided"
    return f"{said}: sign test {one_sided}{two_sided} two-sided{holm}{wilcoxon}"


def _interval(interval: Interval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"
