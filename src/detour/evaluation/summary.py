"""Summarize the scores of a benchmark's tasks and seeds, without torch.

A statistic over seeds or tasks needs all of them: if one is missing, the statistic is None, the seed is listed, and the
individual scores of the others are kept.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

METRICS = ("macro_f1", "micro_f1", "accuracy")
"""The metrics of every task, except that entities have no accuracy; other metrics appear only with their tasks."""
NOT_SCORED = "-"
Results = Mapping[tuple[str, int], Mapping[str, Any]]
"""(task, seed) -> an evaluate stage's result.json."""


def summarize(tasks: Sequence[str], seeds: Sequence[int], results: Results) -> dict[str, Any]:
    """Test scores as JSON: of each task, and of the benchmark as the average over tasks, seed by seed.

    {seeds, tasks: {name: {primary_metric, missing_seeds, notes, metrics: {metric: spread}}},
     average: {primary | metric: spread}, missing: [{task, seed}]}; see `spread`.
    """
    table = {task: {seed: results.get((task, seed)) for seed in seeds} for task in tasks}
    return {
        "seeds": list(seeds),
        "tasks": {task: _task_summary(by_seed) for task, by_seed in table.items()},
        "average": {
            metric: spread({seed: _average([_score(table[task][seed], metric) for task in tasks]) for seed in seeds})
            for metric in ("primary", *METRICS)
        },
        "missing": [{"task": task, "seed": seed} for task in tasks for seed in seeds if table[task][seed] is None],
    }


def spread(by_seed: Mapping[int, float | None]) -> dict[str, Any]:
    """{by_seed, n, mean, standard_deviation, min, max}; `n` is the number of seeds with a score.

    The standard deviation is the sample's (n - 1), None for a single seed.
    """
    scores = [score for score in by_seed.values() if score is not None]
    complete = bool(scores) and len(scores) == len(by_seed)
    return {
        "by_seed": {str(seed): score for seed, score in by_seed.items()},
        "n": len(scores),
        "mean": statistics.fmean(scores) if complete else None,
        "standard_deviation": statistics.stdev(scores) if complete and len(scores) > 1 else None,
        "min": min(scores) if complete else None,
        "max": max(scores) if complete else None,
    }


def _task_summary(by_seed: Mapping[int, Mapping[str, Any] | None]) -> dict[str, Any]:
    first: Mapping[str, Any] = next((result for result in by_seed.values() if result), {})
    return {
        "primary_metric": first.get("primary_metric"),
        "notes": first.get("notes", []),
        "missing_seeds": [seed for seed, result in by_seed.items() if result is None],
        "metrics": {
            metric: spread({seed: _score(result, metric) for seed, result in by_seed.items()})
            for metric in dict.fromkeys((*METRICS, *first.get("test", {})))
        },
    }


def _score(result: Mapping[str, Any] | None, metric: str) -> float | None:
    if result is None:
        return None
    score: float | None = result["test"].get(result["primary_metric"] if metric == "primary" else metric)
    return score


def _average(scores: Sequence[float | None]) -> float | None:
    present = [score for score in scores if score is not None]
    return statistics.fmean(present) if len(present) == len(scores) else None


def as_text(summary: Mapping[str, Any]) -> str:
    """The summary as a plain-text table: scores in percent, mean ± standard deviation over seeds."""
    rows: list[tuple[str, ...]] = [("task", "primary metric", "macro F1", "micro F1", "accuracy", "seeds")]
    for name, task in summary["tasks"].items():
        metrics = task["metrics"]
        has_result = metrics["macro_f1"]["n"] > 0
        cells = [NOT_SCORED if has_result and not metrics[m]["n"] else _cell(metrics[m]) for m in METRICS]
        seeds = f"{metrics['macro_f1']['n']} of {len(summary['seeds'])}"
        rows.append((name, task["primary_metric"] or "unknown", *cells, seeds))
    average = [_cell(summary["average"][metric]) for metric in METRICS]
    rows.append(("average", _cell(summary["average"]["primary"]), *average, ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["test scores in %: mean ± standard deviation over seeds", ""]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{name}: {note}" for name, task in summary["tasks"].items() for note in task["notes"]]
    lines += [f"missing: {gap['task']}, seed {gap['seed']}" for gap in summary["missing"]]
    return "\n".join(lines) + "\n"


def _cell(figures: Mapping[str, Any]) -> str:
    if figures["mean"] is None:
        return "unknown"
    deviation = figures["standard_deviation"]
    return f"{100 * figures['mean']:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
