"""Figures shown next to the electricity of jobs, one line each, and never added to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detour.accounting.energy import Band, EnergyFigure, total
from detour.accounting.fates import Known
from detour.accounting.overheads import embodied, idle
from detour.reporting.costs import Counted
from detour.site import Sourced


@dataclass(frozen=True, slots=True)
class Aside:
    site: str
    what: str
    co2_g: Band
    constant: Sourced


def asides(attempts: Iterable[Counted], method: str | None) -> list[Aside]:
    """Return the figures of sites whose profile has the constant; idle energy refers to the figures of `method`."""
    by_constants: dict[tuple[str, Sourced | None, Sourced | None], list[Counted]] = {}
    for attempt in attempts:
        if attempt.figures:
            site = attempt.figures[0].site
            constants = (site.name, site.embodied_g_per_gpu_hour, site.idle_kwh_per_kwh)
            by_constants.setdefault(constants, []).append(attempt)
    return [row for ran in by_constants.values() for row in _of_site(ran, method)]


def _of_site(ran: Sequence[Counted], method: str | None) -> list[Aside]:
    rows, site = [], ran[0].figures[0].site
    hours = Known.sum(one.gpu_hours for one in ran)
    hardware = embodied(site, hours.value)
    if hardware.co2_g is not None and hardware.factor is not None:
        grams = Band.around(hardware.co2_g)
        rows.append(Aside(site.name, "manufacture and transport of the hardware, by GPU-hour", grams, hardware.factor))
    figures: list[EnergyFigure] = [figure for one in ran for figure in one.figures if figure.method == method]
    around = idle(total(figures)) if figures else None
    if around is not None and around.co2_g is not None and around.share is not None:
        rows.append(Aside(site.name, "idle nodes and shared parts of the machine", around.co2_g, around.share))
    return rows
