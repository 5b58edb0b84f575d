"""Hours, fates and energy of any set of attempts; sums are always over attempts, never over other sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import fsum
from typing import NamedTuple

from detour.accounting.energy import EnergyFigure, implausible, total
from detour.accounting.fates import Fates, Known, fates_s
from detour.accounting.hours import HOUR_S, AttemptUsage, cpu_hours, gpu_hours, overlap_s
from detour.grouping import grouped
from detour.reporting.data import Cost
from detour.text import counted as count_of

NODES_NAMED = 3
FiguresIn = Callable[[AttemptUsage], Sequence[EnergyFigure]]
"""The usage of an attempt, or of a part of it -> its figures, one per method."""


class Counted(NamedTuple):
    """One attempt with its figures, one per method, as created by `counted`."""

    usage: AttemptUsage
    figures: Sequence[EnergyFigure]
    node: str | None
    cluster: str | None
    """Name of its cluster profile."""
    outcome: str
    reason: str | None
    billed_hours: float | None
    """GPU-hours by the site's billing rule."""
    gpu_hours: float | None
    """This and the following fields are stored, because every sum needs them."""
    cpu_hours: float | None
    fates: Fates
    """Fates of its seconds."""
    fates_gpu_hours: Fates | None
    fates_cpu_hours: Fates | None
    figures_in: FiguresIn
    """Figures of a part of it."""


def counted(
    usage: AttemptUsage,
    figures_in: FiguresIn,
    node: str | None = None,
    cluster: str | None = None,
    outcome: str = "done",
    reason: str | None = None,
    billed_hours: float | None = None,
) -> Counted:
    fates = fates_s(usage)
    return Counted(
        usage,
        figures_in(usage),
        node,
        cluster,
        outcome,
        reason,
        billed_hours,
        gpu_hours(usage),
        cpu_hours(usage),
        fates,
        None if usage.gpus is None else fates.times(usage.gpus / HOUR_S),
        None if usage.cpus is None else fates.times(usage.cpus / HOUR_S),
        figures_in,
    )


def cost_of(attempts: Sequence[Counted], *, every_method: bool = True) -> Cost:
    """Return the cost of attempts. Without `every_method`, methods without a figure are left out: a chain states the
    reason, stages need not."""
    if len(attempts) == 1:
        return _cost_of_one(attempts[0], every_method)
    return Cost(
        attempts=len(attempts),
        allocated_s=fsum(one.usage.allocated_s for one in attempts),
        cpu_hours=Known.sum(one.cpu_hours for one in attempts),
        gpu_hours=Known.sum(one.gpu_hours for one in attempts),
        billed_hours=Known.sum(one.billed_hours for one in attempts),
        fates_s=Fates.sum(one.fates for one in attempts),
        fates_cpu_hours=Fates.sum(fates for one in attempts if (fates := one.fates_cpu_hours) is not None),
        fates_gpu_hours=Fates.sum(fates for one in attempts if (fates := one.fates_gpu_hours) is not None),
        energy=energy_sums(attempts, every_method),
    )


def _cost_of_one(one: Counted, every_method: bool) -> Cost:
    """Return the cost of a single attempt faster, since most stages have one."""
    unknown = Known(None, 1)
    cpu, gpu = one.cpu_hours, one.gpu_hours
    return Cost(
        attempts=1,
        allocated_s=one.usage.allocated_s,
        cpu_hours=unknown if cpu is None else Known(cpu),
        gpu_hours=unknown if gpu is None else Known(gpu),
        billed_hours=unknown if one.billed_hours is None else Known(one.billed_hours),
        fates_s=one.fates,
        fates_cpu_hours=one.fates_cpu_hours or Fates(),
        fates_gpu_hours=one.fates_gpu_hours or Fates(),
        energy=[figure for figure in one.figures if every_method or figure.it_energy_kwh is not None],
    )


def energy_sums(attempts: Sequence[Counted], every_method: bool) -> list[EnergyFigure]:
    """Return one sum per method and site, in the order of methods; over several sites those without a figure too."""
    groups = grouped(((figure.method, figure.site.name), figure) for attempt in attempts for figure in attempt.figures)
    every_method = every_method or len({site for _, site in groups}) > 1
    return [
        total(figures)
        for figures in groups.values()
        if every_method or any(figure.it_energy_kwh is not None for figure in figures)
    ]


def energy_warnings(attempts: Sequence[Counted], labels: Mapping[str, str]) -> list[str]:
    """Return warnings on implausible figures, and on machines that two trackers counted at the same time.

    `labels` maps stage ids to names. A problem of many attempts or nodes gives one sentence.
    """
    found = []
    problems: dict[str, list[tuple[str, str]]] = {}
    for attempt in attempts:
        for figure in attempt.figures:
            if problem := implausible(figure, attempt.gpu_hours):
                label = labels.get(attempt.usage.stage or "", "a stage")
                problems.setdefault(figure.method.value, []).append((label, problem))
    for method, listed in problems.items():
        further = f" (the first of {count_of(len(listed), 'attempt')})" if listed[1:] else ""
        found.append(f"{method}: {listed[0][0]}: {listed[0][1]}{further}")
    whole = grouped(
        (attempt.node, attempt.usage)
        for attempt in attempts
        if attempt.node and any(figure.scope == "this machine" for figure in attempt.figures)
    )
    shared_s = {node: overlap_s([(one.start_s, one.end_s) for one in usages]) for node, usages in whole.items()}
    twice = {node: seconds for node, seconds in shared_s.items() if seconds > 1.0}
    if twice:
        names = ", ".join(list(twice)[:NODES_NAMED]) + (", ..." if len(twice) > NODES_NAMED else "")
        found.append(
            f"{names}: several attempts counted the whole machine at once, for {fsum(twice.values()):.0f} s in all"
        )
    return found
