"""Wasted allocated time by cause, and the checkpoint interval that would have been optimal; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import fsum, sqrt
from statistics import median

from detour.accounting.fates import Fates
from detour.grouping import grouped
from detour.ledger.stages import is_out_of_time
from detour.reporting.costs import Counted

CAUSES = {
    "done": "start-up and idle time of attempts that finished",
    "running": "start-up and idle time of attempts that are still running",
    "time limit": "attempts stopped before the time limit",
    "signal": "attempts stopped by a signal: preempted, requeued or cancelled",
    "interrupted": "attempts interrupted for another reason",
    "failed": "attempts that ended in an error",
    "lost": "attempts without a recorded end: killed, or the node was lost",
}


@dataclass(frozen=True, slots=True)
class Waste:
    """Non-useful time of attempts that ended in one way."""

    cause: str
    attempts: int
    lost_gpu_hours: Fates
    """`useful` is 0."""
    lost_cpu_hours: Fates


@dataclass(frozen=True, slots=True)
class Interval:
    """How often trainings of one kind saved, and how often they should have. None means unknown or unbounded."""

    stage: str
    cluster: str
    attempts: int
    worked_s: float
    interruptions: int
    """Interruptions without warning (killed, lost or failed), after which work since the last checkpoint was redone."""
    warned: int
    """Interruptions by a signal that was caught, so that a checkpoint was saved."""
    start_s: float | None
    """Median time from the start of an attempt to its first new work."""
    save_s: float | None
    """Median time that training paused for a checkpoint."""
    interval_s: float | None
    """Median time between two checkpoints."""
    young_s: float | None
    daly_s: float | None
    useful_share: float | None
    """Expected useful share at the measured interval, by `useful_share`."""
    best_useful_share: float | None
    """Expected useful share at Young's interval."""


def young_s(save_s: float, interruptions_per_s: float) -> float:
    """Return the optimal interval between checkpoints, sqrt(2 C / l) (Young 1974).

    Only interruptions without warning count, because before the others a checkpoint is saved anyway.
    """
    return sqrt(2 * save_s / interruptions_per_s)


def daly_s(save_s: float, interruptions_per_s: float) -> float:
    """Return the optimal interval to a higher order (Daly 2006), for checkpoints that are not short compared with the
    mean time between interruptions; that mean time if a checkpoint takes at least twice as long."""
    between_s = 1 / interruptions_per_s
    if save_s >= 2 * between_s:
        return between_s
    ratio = sqrt(save_s / (2 * between_s))
    return sqrt(2 * save_s * between_s) * (1 + ratio / 3 + ratio**2 / 9) - save_s


def useful_share(
    interval_s: float, save_s: float, start_s: float, worked_s: float, unwarned_per_s: float, warned_per_s: float
) -> float:
    """Return useful over allocated time: 1 / (1 + C/t + S/W + lu (S + t/2) + la (S + C)), to first order.

    C is the time of a checkpoint, t the interval, S a start with restore, W the total work, and lu and la the rates of
    interruptions without and with a caught warning.
    """
    overhead = save_s / interval_s + start_s / worked_s
    overhead += unwarned_per_s * (start_s + interval_s / 2) + warned_per_s * (start_s + save_s)
    return 1 / (1 + overhead)


def cause_of(outcome: str, reason: str | None) -> str:
    """Return a key of CAUSES for an attempt's outcome and reason."""
    if outcome != "interrupted":
        return outcome if outcome in CAUSES else "failed"
    if is_out_of_time(reason):
        return "time limit"
    return "signal" if "signal SIG" in (reason or "") else "interrupted"


def waste_by_cause(attempts: Iterable[Counted]) -> list[Waste]:
    """Return the waste in the order of CAUSES, without causes that cost nothing."""
    groups = grouped((cause_of(attempt.outcome, attempt.reason), attempt) for attempt in attempts)
    rows = []
    for cause, words in CAUSES.items():
        ended = groups.get(cause, [])
        gpu = _lost(one.fates_gpu_hours for one in ended)
        cpu = _lost(one.fates_cpu_hours for one in ended)
        if gpu.allocated or cpu.allocated:
            rows.append(Waste(words, len(ended), gpu, cpu))
    return rows


def interval(
    stage: str, cluster: str, attempts: Sequence[Counted], saves: Sequence[Sequence[tuple[float, float | None]]]
) -> Interval:
    """Return the interval statistics. `saves` holds, per attempt, (time since the epoch, duration) of checkpoints."""
    worked_s = fsum(one.fates.useful + one.fates.redone + one.fates.failed for one in attempts)
    causes = [cause_of(one.outcome, one.reason) for one in attempts]
    unwarned = sum(cause in ("failed", "lost") for cause in causes)
    warned = sum(cause in ("time limit", "signal") for cause in causes)
    start_s = _median(one.fates.startup for one in attempts if one.usage.ready_s is not None)
    save_s = _median(took_s for of_attempt in saves for _, took_s in of_attempt if took_s is not None)
    apart_s = _median(after - before for of_attempt in saves for (before, _), (after, _) in pairwise(of_attempt))
    best_s = daly = useful = best_useful = None
    if save_s and worked_s > 0:
        rates = unwarned / worked_s, warned / worked_s
        if unwarned:
            best_s, daly = young_s(save_s, rates[0]), daly_s(save_s, rates[0])
        if apart_s and start_s is not None:
            useful = useful_share(apart_s, save_s, start_s, worked_s, *rates)
            best_useful = best_s and useful_share(best_s, save_s, start_s, worked_s, *rates)
    return Interval(
        stage,
        cluster,
        len(attempts),
        worked_s,
        unwarned,
        warned,
        start_s,
        save_s,
        apart_s,
        best_s,
        daly,
        useful,
        best_useful,
    )


def _lost(fates: Iterable[Fates | None]) -> Fates:
    return Fates.sum(one for one in fates if one is not None)._replace(useful=0.0)


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return median(listed) if listed else None
