"""Energy and CO2 of some attempts, by method, and the figure to quote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from detour.accounting.energy import Band, EnergyFigure, Method, preferred, total


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


Sums = Mapping[Method, Mapping[str, EnergyFigure]]
"""By method and by name of the site."""


def sums_of(figures: Iterable[EnergyFigure]) -> Sums:
    """Sums in the order of `Method`."""
    grouped: dict[Method, dict[str, list[EnergyFigure]]] = {method: {} for method in Method}
    for figure in figures:
        grouped[figure.method].setdefault(figure.site.name, []).append(figure)
    return {
        method: {site: total(same) for site, same in by_site.items()} for method, by_site in grouped.items() if by_site
    }


def totals(sums: Sums) -> list[EnergyTotal]:
    """One total per method, over all sites; a site without a figure makes the sum unknown."""
    return [_sum(method.value, list(of_method.values())) for method, of_method in sums.items()]


def chosen(sums: Sums) -> dict[str, Method]:
    """Name of each site -> the method to quote: the best with enough coverage of all its figures."""
    sites = dict.fromkeys(site for of_method in sums.values() for site in of_method)
    best = {site: preferred(by_site[site] for by_site in sums.values() if site in by_site) for site in sites}
    return {site: figure.method for site, figure in best.items() if figure is not None}


def quoted(figures: Sequence[EnergyFigure], methods: Mapping[str, Method]) -> EnergyTotal | None:
    """The sum over all sites by the given methods, with the methods named; None if a site has no figure."""
    by_site: dict[str, list[EnergyFigure]] = {}
    for figure in figures:
        name = figure.site.name
        same = by_site.setdefault(name, [])
        if figure.method is methods.get(name):
            same.append(figure)
    if not by_site or not all(by_site.values()):
        return None
    sums = [total(same) for same in by_site.values()]
    return _sum(" + ".join(dict.fromkeys(figure.method.value for figure in sums)), sums)


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
