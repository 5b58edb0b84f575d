"""Energy and CO2 of some attempts, by method, and the figure to quote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from detour.accounting.energy import Band, EnergyFigure, Method, preferred, total


class EnergyTotal(NamedTuple):
    """Expected values of one method; the report has the bands, sources and coverage in full."""

    method: str
    it_energy_kwh: float | None
    facility_energy_kwh: float | None
    """Of the facility: PUE x IT energy."""
    co2_g: float | None
    coverage: float | None
    missing: str | None
    """Why there is no CO2 figure."""
    site: str | None = None
    """None over several sites."""


SEVERAL_SITES = "it ran at several sites, of which `detour energy` has the figures"
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
    """One total per method, unknown over several sites."""
    return [_total(method, list(of_method.values())) for method, of_method in sums.items()]


def chosen(sums: Sums) -> dict[str, Method]:
    """Name of each site -> the method to quote: the best with enough coverage of all its figures."""
    sites = dict.fromkeys(site for of_method in sums.values() for site in of_method)
    best = {site: preferred(by_site[site] for by_site in sums.values() if site in by_site) for site in sites}
    return {site: figure.method for site, figure in best.items() if figure is not None}


def quoted(figures: Sequence[EnergyFigure], methods: Mapping[str, Method]) -> EnergyTotal | None:
    """The sum by the method of their site; None for several sites, and without a method."""
    sites = {figure.site.name for figure in figures}
    method = methods.get(sites.pop()) if len(sites) == 1 else None
    return None if method is None else _total(method, [total(one for one in figures if one.method is method)])


def _total(method: Method, sums: Sequence[EnergyFigure]) -> EnergyTotal:
    """The total of one sum per site."""
    if len(sums) > 1:
        return EnergyTotal(method.value, None, None, None, None, SEVERAL_SITES)
    (figure,) = sums
    return EnergyTotal(
        method=method.value,
        it_energy_kwh=_expected(figure.it_energy_kwh),
        facility_energy_kwh=_expected(figure.facility_energy_kwh),
        co2_g=_expected(figure.co2_g),
        coverage=figure.coverage,
        missing=figure.missing,
        site=figure.site.name,
    )


def _expected(band: Band | None) -> float | None:
    return None if band is None else band.expected
