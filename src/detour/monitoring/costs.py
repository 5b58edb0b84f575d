"""Energy and CO2 of some attempts, by method, and the one figure to quote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from detour.accounting.energy import Band, EnergyFigure, Method, Site, preferred, total


class EnergyTotal(NamedTuple):
    """Expected values of one method; the report has the bands, sources and coverage in full."""

    method: str
    it_energy_kwh: float | None
    energy_kwh: float | None
    """Of the facility: PUE x IT energy."""
    co2_g: float | None
    coverage: float | None
    missing: str | None
    """Why there is no CO2 figure."""


def totals(figures: Iterable[EnergyFigure]) -> list[EnergyTotal]:
    """One a method, over all sites, in the order of `Method`; a site without a figure makes the sum unknown."""
    by_method: dict[Method, dict[Site, list[EnergyFigure]]] = {}
    for figure in figures:
        by_method.setdefault(figure.method, {}).setdefault(figure.site, []).append(figure)
    return [
        _sum(method.value, [total(same) for same in by_method[method].values()])
        for method in Method
        if method in by_method
    ]


def quoted(figures: Sequence[EnergyFigure]) -> EnergyTotal | None:
    """The best figure of each site, added up, its methods named; None when nothing was recorded."""
    if not any(figure.it_energy_kwh for figure in figures):
        return None
    by_site: dict[Site, dict[Method, list[EnergyFigure]]] = {}
    for figure in figures:
        by_site.setdefault(figure.site, {}).setdefault(figure.method, []).append(figure)
    best = [preferred([total(same) for same in methods.values()]) for methods in by_site.values()]
    known = [figure for figure in best if figure is not None]
    if not known or len(known) < len(best):
        return None
    return _sum(" + ".join(dict.fromkeys(figure.method.value for figure in known)), known)


def _sum(method: str, figures: Sequence[EnergyFigure]) -> EnergyTotal:
    coverages = [figure.coverage for figure in figures if figure.coverage is not None]
    return EnergyTotal(
        method=method,
        it_energy_kwh=_expected(figure.it_energy_kwh for figure in figures),
        energy_kwh=_expected(figure.facility_energy_kwh for figure in figures),
        co2_g=_expected(figure.co2_g for figure in figures),
        coverage=min(coverages, default=None),
        missing="; ".join(dict.fromkeys(figure.missing for figure in figures if figure.missing)) or None,
    )


def _expected(bands: Iterable[Band | None]) -> float | None:
    values = [None if band is None else band.expected for band in bands]
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
