"""Forecasts of starts and ends, and how good they were, as made or in a replay of a history."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from detour.forecasting.forecaster import LEAST_BURSTS
from detour.forecasting.replay import SIMILAR, Outcome, Replay
from detour.forecasting.scoring import Score
from detour.grouping import grouped
from detour.launch.text.screen import NARROWEST, say
from detour.orchestration.forecasts import ChainForecast, Forecasts, StageForecast
from detour.output_files import write_output
from detour.text import NAMES_SHOWN, counted, cut, fitted, format_duration, listed, plain, wrapped

COLUMNS = (
    "job", "account", "gpus", "begun_s", "wait_s", "p50_s", "p90_s", "similar_p50_s", "similar_p90_s"
)  # fmt: skip

TIED = 0.1
"""Share of starts exactly at their p50 from which a single figure is misleading."""

NO_FORECAST = f"A forecast needs {LEAST_BURSTS} earlier bursts of the job's shape, most of them started."

_HEADINGS = ("starts p50", "p90", "ends p50", "p90")
_NAME, _TIME = 22, 14


def say_warnings(made: Forecasts) -> None:
    """Print the warnings, wrapped: sacct's error messages are long."""
    for warning in dict.fromkeys(made.warnings):
        say(*wrapped(f"warning: {plain(warning)}", indent="", width=NARROWEST))


def forecasts_lines(made: Forecasts) -> Iterator[str]:
    """At most 80 columns."""
    for chains, needed in _blocks(made.chains).items():
        yield from _headings(chains, needed)
        for reason, alike in groupby(needed, _only_reason):
            stages = [*alike]
            yield from _without_times(stages, reason) if reason else _with_times(stages)
        yield ""
    if not any(chain.stages for chain in made.chains):
        yield "Nothing is pending or running."
    bursts = f"From {_waits(made)}" if any(one.waits for one in made.histories) else "No past jobs of yours are known"
    yield f"{bursts}; docs/forecasts.md explains how."
    yield f"So far: {made.accuracy}." if made.accuracy else "No forecast of a start has been scored yet."


def _waits(made: Forecasts) -> str:
    jobs, taken_s = _history(made)
    return f"{counted(jobs, 'past job')} of yours, read {_clock(taken_s)}"


def _history(made: Forecasts) -> tuple[int, float]:
    """Number of past jobs at all Slurm clusters, and when they were read: the longest ago."""
    return sum(len(one.waits) for one in made.histories), min(one.taken_s for one in made.histories)


def _blocks(chains: Sequence[ChainForecast]) -> dict[tuple[str, ...], list[StageForecast]]:
    """Chains -> the stages that exactly these chains need."""
    needed_by: dict[str, list[str]] = {}
    stages: dict[str, StageForecast] = {}
    for chain in chains:
        for one in chain.stages:
            stages.setdefault(one.stage.id, one)
            needed_by.setdefault(one.stage.id, []).append(chain.name)
    return grouped((tuple(names), stages[stage_id]) for stage_id, names in needed_by.items())


def _headings(chains: Sequence[str], stages: Sequence[StageForecast]) -> Iterator[str]:
    names = [plain(chain) for chain in chains]
    times = "" if all(map(_only_reason, stages)) else "".join(f"{heading:>{_TIME}}" for heading in _HEADINGS)
    if len(names) > 1:
        yield from wrapped(f"Shared by {listed(names, NAMES_SHOWN)}:", indent="", width=NARROWEST)
        if times:
            yield " " * _NAME + times
    else:
        yield fitted(names[0], _NAME) + times if times else cut(names[0], NARROWEST)


def _only_reason(one: StageForecast) -> str | None:
    """The reason if there is neither a start nor an end, otherwise None."""
    return one.outlook.reason if one.outlook.start is None and one.outlook.end is None else None


def _without_times(stages: Sequence[StageForecast], reason: str) -> Iterator[str]:
    names = listed([plain(one.stage.label) for one in stages], NAMES_SHOWN)
    yield from wrapped(f"{names}: {reason}", indent="  ", width=NARROWEST)


def _with_times(stages: Sequence[StageForecast]) -> Iterator[str]:
    for one in stages:
        start, end, reason = one.outlook.start, one.outlook.end, one.outlook.reason
        times = [*(start or (None, None)), *(end or (None, None))]
        if one.stage.status == "running":
            times[1] = None
        shown = "".join(f"{_clock(at_s) if at_s is not None else '-':>{_TIME}}" for at_s in times)
        yield f"  {fitted(plain(one.stage.label), _NAME - 2)}{shown}"
        if reason:
            yield from wrapped(reason, indent="    ", width=NARROWEST)


def _clock(at_s: float) -> str:
    return time.strftime("%a %d %H:%M", time.localtime(at_s))


def forecasts_json(made: Forecasts) -> dict[str, Any]:
    """Times are seconds since the epoch; null is unknown."""
    jobs, taken_s = _history(made)
    return {
        "now_s": made.now_s,
        "history": {"jobs": jobs, "taken_s": taken_s},
        "accuracy": made.accuracy._asdict() if made.accuracy else None,
        "chains": [{"name": chain.name, "stages": [_stage_json(one) for one in chain.stages]} for chain in made.chains],
        "warnings": list(made.warnings),
    }


def _stage_json(one: StageForecast) -> dict[str, Any]:
    start, end = one.outlook.start, one.outlook.end
    return {
        "stage": one.stage.id,
        "label": one.stage.label,
        "state": one.stage.state,
        "start": start._asdict() if start else None,
        "end": end._asdict() if end else None,
        "begun_s": one.outlook.begun_s,
        "bursts": one.outlook.bursts,
        "method": one.method,
        "made_s": one.made_s,
        "reason": one.outlook.reason,
    }


def replay_lines(replayed: Replay) -> Iterator[str]:
    yield f"{counted(replayed.jobs, 'job')}, {replayed.forecasts:,} of them with enough history for a forecast."
    if replayed.score is None:
        yield "None of these has started: there is nothing to score." if replayed.forecasts else NO_FORECAST
        return
    yield f"  {'':<28}{'started':>9}{'by the p50':>12}{'by the p90':>12}{'pinball loss':>14}"
    yield _row("forecasts", replayed.score)
    if replayed.compared and replayed.similar:
        yield _row("of these, with a comparison", replayed.compared)
        yield _row(f"the last {SIMILAR} similar jobs", replayed.similar)
    score = replayed.score
    if score.coverage_p50 - score.before_p50 >= TIED:
        before = f"{score.before_p50:.0%} started before the p50, {score.before_p90:.0%} before the p90"
        yield f"  Many waited equally long: {before}."
        yield "  Forecasts are right where 50% and 90% lie between 'before' and 'by'."


def _row(name: str, score: Score) -> str:
    shares = f"{score.coverage_p50:>12.1%}{score.coverage_p90:>12.1%}"
    return f"  {name:<28}{score.n:>9,}{shares}{format_duration(score.pinball_s):>14}"


def replay_json(replayed: Replay) -> dict[str, Any]:
    return asdict(replayed)


def write_outcomes(path: Path, made: Sequence[Outcome]) -> None:
    """Times are in seconds, empty if unknown. Raises UserError if the file cannot be written."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for one in made:
        wait, similar = one.wait, one.similar or (None, None)
        rows.writerow((wait.job, wait.account, wait.shape.gpus, wait.begun_s, one.actual_s, *one[1:3], *similar))
    write_output(path, text.getvalue(), "--outcomes")
