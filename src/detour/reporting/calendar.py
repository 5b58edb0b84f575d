"""Hours, energy and CO2 by day, month, quarter or year; attempts are split at boundaries to the second. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from detour.accounting.energy import Band, EnergyFigure, total
from detour.accounting.fates import Fates, Known
from detour.grouping import grouped
from detour.reporting.costs import Counted, counted
from detour.reporting.period import Period
from detour.times import DAY_S, zone_of
from detour.usage.calendar import Calendar, Unit

LONGEST_DAYS = {Unit.DAY: 31, Unit.MONTH: 24 * 31, Unit.QUARTER: 8 * 366}
"""Maximum number of days in a table by that unit; a longer one uses the next unit."""


@dataclass(frozen=True, slots=True)
class PeriodCost:
    """Usage in one period. An attempt across a boundary counts in both periods."""

    period: str
    attempts: int
    gpu_hours: Known
    billed_hours: Known
    cpu_hours: Known
    useful_share: float | None
    """Share of GPU-hours, or of CPU-hours if nothing used a GPU."""
    energy_method: str | None
    """Energy method of the whole report; the energy is that of a single site, otherwise unknown."""
    facility_energy_kwh: Band | None
    co2_g: Band | None


def by_period(attempts: Sequence[Counted], time_zone: str, method: str | None) -> list[PeriodCost]:
    """Return the usage of each period with an attempt; empty if all are in one period."""
    if not attempts:
        return []
    start_s, end_s = min(one.usage.start_s for one in attempts), max(one.usage.end_s for one in attempts)
    calendar = Calendar(_unit(end_s - start_s), zone_of(time_zone), start_s, end_s)
    found = grouped((label, part) for one in attempts for label, part in _parts(one, calendar))
    return [_period_cost(label, found[label], method) for label in sorted(found)] if len(found) > 1 else []


def _unit(span_s: float) -> Unit:
    return next((unit for unit, days in LONGEST_DAYS.items() if span_s <= days * DAY_S), Unit.YEAR)


def _parts(one: Counted, calendar: Calendar) -> Iterator[tuple[str, Counted]]:
    usage = one.usage
    label = calendar.common_label(usage.start_s, usage.end_s)
    if label is not None:
        yield label, one
        return
    for label, start_s, end_s in calendar.pieces(usage.start_s, usage.end_s):
        part = Period(start_s, end_s).part_of(usage)
        if part is not None:
            share = part.allocated_s / usage.allocated_s if usage.allocated_s else 1.0
            billed_hours = None if one.billed_hours is None else one.billed_hours * share
            yield label, counted(part, one.figures_in, one.node, one.cluster, one.outcome, one.reason, billed_hours)


def _period_cost(label: str, attempts: Sequence[Counted], method: str | None) -> PeriodCost:
    gpu_hours = Known.sum(one.gpu_hours for one in attempts)
    on_gpus = gpu_hours.value != 0
    parts = (one.fates_gpu_hours if on_gpus else one.fates_cpu_hours for one in attempts)
    fates = Fates.sum(part for part in parts if part is not None)
    figure = _quoted(attempts, method)
    return PeriodCost(
        period=label,
        attempts=len(attempts),
        gpu_hours=gpu_hours,
        billed_hours=Known.sum(one.billed_hours for one in attempts),
        cpu_hours=Known.sum(one.cpu_hours for one in attempts),
        useful_share=fates.useful / fates.allocated if fates.allocated else None,
        energy_method=method,
        facility_energy_kwh=figure and figure.facility_energy_kwh,
        co2_g=figure and figure.co2_g,
    )


def _quoted(attempts: Sequence[Counted], method: str | None) -> EnergyFigure | None:
    figures = [figure for one in attempts for figure in one.figures if figure.method == method]
    return total(figures) if len({figure.site.name for figure in figures}) == 1 else None
