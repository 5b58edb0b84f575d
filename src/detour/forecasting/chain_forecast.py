"""When the stages of a chain will start and end: waits and durations added up along the longest path.

The two quantiles are computed separately, as if all waits of a chain were at their p50, or all at their p90: the waits
of one week rise and fall together. For a long chain the p90 is therefore rather late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

from detour.forecasting.forecaster import Expected, NoForecast
from detour.forecasting.waits import Shape


class Pair(NamedTuple):
    p50_s: float
    p90_s: float

    def plus(self, other: Pair, times: int = 1) -> Pair:
        return Pair(self.p50_s + times * other.p50_s, self.p90_s + times * other.p90_s)

    def at_least(self, other: Pair) -> Pair:
        return Pair(max(self.p50_s, other.p50_s), max(self.p90_s, other.p90_s))


class PendingStage(NamedTuple):
    """A stage that is not done. Durations in seconds, times since the epoch."""

    id: str
    inputs: Sequence[str]
    shape: Shape
    left: Pair | None
    """Remaining duration of its work; None if unknown."""
    limit_s: float | None = None
    """Time limit of one job. Work beyond it takes further jobs, which wait too."""
    started_s: float | None = None
    """When its job started, if it is running."""
    begun_s: float | None = None
    """Since when its job has been waiting only for its turn."""
    start: Pair | None = None
    """A start that is known better than from the history."""


class Outlook(NamedTuple):
    begun_s: float | None
    """As in `PendingStage`; None if other stages have to end first."""
    start: Pair | None
    end: Pair | None
    bursts: int | None
    reason: str | None
    """Why there is no start or no end."""


Wait = Callable[[PendingStage, float], Expected | NoForecast]
"""Stage and the time that its job has waited -> its expected wait from the beginning."""


def look_ahead(stages: Sequence[PendingStage], wait: Wait, now_s: float) -> Mapping[str, Outlook]:
    """Outlooks by stage id. In `stages`, each must come after its inputs; done ones are left out."""
    found: dict[str, Outlook] = {}
    for stage in stages:
        found[stage.id] = _outlook(stage, [found[one] for one in stage.inputs if one in found], wait, now_s)
    return found


def _outlook(stage: PendingStage, before: Sequence[Outlook], wait: Wait, now_s: float) -> Outlook:
    now = Pair(now_s, now_s)
    if stage.started_s is not None:
        start = Pair(stage.started_s, stage.started_s)
        return _ended(stage, start, now, wait, None)
    ready = now
    if stage.begun_s is None:
        for one in before:
            if one.end is None:
                return Outlook(None, None, None, None, "the end of a stage that it waits for is unknown")
            ready = ready.at_least(one.end)
    expected = wait(stage, 0.0 if stage.begun_s is None else now_s - stage.begun_s)
    bursts = expected.bursts if isinstance(expected, Expected) else None
    if stage.start is not None:
        return _ended(stage, stage.start.at_least(now), stage.start.at_least(now), wait, bursts)
    if isinstance(expected, NoForecast):
        return Outlook(stage.begun_s, None, None, None, expected.reason)
    waits = Pair(expected.p50_s, expected.p90_s)
    start = ready.plus(waits) if stage.begun_s is None else Pair(stage.begun_s, stage.begun_s).plus(waits)
    start = start.at_least(now)
    return _ended(stage, start, start, wait, bursts)


def _ended(stage: PendingStage, start: Pair, since: Pair, wait: Wait, bursts: int | None) -> Outlook:
    """`since` is the time from which its remaining work runs."""
    if stage.left is None:
        return Outlook(stage.begun_s, start, None, bursts, "how long it takes is unknown")
    end = since.plus(stage.left)
    if further := _further_jobs(stage):
        again = wait(stage, 0.0)
        if isinstance(again, NoForecast):
            return Outlook(stage.begun_s, start, None, bursts, f"it takes more than one job, and {again.reason}")
        end = end.plus(Pair(again.p50_s, again.p90_s), further)
    return Outlook(stage.begun_s, start, end, bursts, None)


def _further_jobs(stage: PendingStage) -> int:
    if stage.left is None or not stage.limit_s:
        return 0
    return max(0, ceil(stage.left.p50_s / stage.limit_s) - 1)
