"""Energy and CO2 figures that state how they were obtained; pure arithmetic.

A figure holds only **IT energy**. Facility energy (PUE x IT energy) and CO2 (facility energy x grid factor) are derived
from it at the very end, so neither can be applied twice, a common error with trackers that store energy multiplied by a
PUE. Unknown is None with a reason, never 0, and figures of different methods are never added.

Figures are named tuples, which are faster than dataclasses, because `detour status` creates them for every attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import fsum
from typing import Any, NamedTuple

from detour.site import Site, blended


class Method(StrEnum):
    """How a figure was obtained; the value is its displayed name."""

    MEASURED = "M1 measured"
    """Differences of hardware energy counters (`measured`); `detail` states what was filled in or modelled."""
    CODECARBON = "codecarbon"
    """codecarbon running alongside the stage; `detail` states what was counted and what was modelled."""
    ESTIMATED = "M2 estimated"
    """Reserved hardware x time x nominal power."""
    SLURM = "M3 Slurm"
    """Slurm's ConsumedEnergyRaw for an exclusive allocation."""
    CARD = "card convention"
    """Reserved GPU-hours x board power, as in published model cards; a convention, not a measurement."""

    @property
    def is_measured(self) -> bool:
        """Whether the work was observed; otherwise the coverage is the share of time with known inputs."""
        return self not in (Method.ESTIMATED, Method.CARD)


PREFERENCE = (Method.MEASURED, Method.SLURM, Method.ESTIMATED, Method.CODECARBON)
"""Methods to quote, best first; codecarbon only if there is no other. The card's convention is never quoted instead."""
LEAST_COVERAGE = 0.9
"""Minimum share of the allocated time that a method must cover to be preferred."""
PLAUSIBLE_KWH_PER_GPU_HOUR = (0.05, 1.5)
ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class Band:
    """A quantity with its possible range. Errors of a method are systematic, so bands add linearly."""

    low: float
    expected: float
    high: float

    @classmethod
    def around(cls, expected: float, relative: float = 0.0) -> Band:
        """`around(10, 0.3)` is 7 to 13."""
        return cls(expected * (1 - relative), expected, expected * (1 + relative))

    def __mul__(self, factor: float) -> Band:
        return Band(self.low * factor, self.expected * factor, self.high * factor)

    def __add__(self, other: Band) -> Band:
        return Band(self.low + other.low, self.expected + other.expected, self.high + other.high)


class EnergyFigure(NamedTuple):
    """IT energy of some allocated time, by one method, at one site.

    `it_energy_kwh` is based on `covered_s` of the `allocated_s` seconds; another `extended_s` were not observed but
    filled in at the mean power (a tail lost to a kill, a tracker that was still starting). The remaining time is not
    included.
    """

    method: Method
    site: Site
    it_energy_kwh: Band | None
    allocated_s: float
    covered_s: float
    extended_s: float = 0.0
    scope: str = ""
    """What is included: `GPU boards`, `machine`, `GPU boards, CPU cores and RAM`."""
    detail: str = ""
    """How it was obtained, if the method does not say it all: `CPU by load model`."""
    tool: str = "detour"
    version: str = ""
    reason: str | None = None
    """Why there is no figure, or a warning about it."""

    @property
    def facility_energy_kwh(self) -> Band | None:
        """PUE x IT energy; the only place where the PUE is applied."""
        if self.it_energy_kwh is None or self.site.pue is None:
            return None
        return self.it_energy_kwh * self.site.pue.value

    @property
    def co2_g(self) -> Band | None:
        """Grams of CO2eq of the electricity used, excluding hardware manufacture (embodied carbon)."""
        energy = self.facility_energy_kwh
        if energy is None or self.site.grid_g_per_kwh is None:
            return None
        return energy * self.site.grid_g_per_kwh.value

    @property
    def coverage(self) -> float | None:
        """Share of the allocated time that was observed, excluding filled-in time; None if nothing ran."""
        return min(1.0, self.covered_s / self.allocated_s) if self.allocated_s > 0 else None

    @property
    def uncounted_s(self) -> float:
        """Allocated seconds whose energy is not included."""
        left_s = self.allocated_s - self.covered_s - self.extended_s
        return left_s if left_s > ROUNDING_S else 0.0

    @property
    def warning(self) -> str | None:
        """Warning about the figure, if it exists."""
        return None if self.it_energy_kwh is None else self.reason

    @property
    def missing(self) -> str | None:
        """Why there is no CO2 figure, None if there is one."""
        if self.it_energy_kwh is None:
            return self.reason or "no energy figure"
        if self.site.pue is None:
            return f"no PUE is known for {self.site.name}"
        if self.site.grid_g_per_kwh is None:
            return f"no grid factor is known for {self.site.name}"
        return None


def card_grams(co2_g: Band) -> float:
    """Return CO2 as the metadata of a model card state it: to a centigram, below a gram with three digits."""
    grams = co2_g.expected
    return round(grams, 2) if grams >= 1 else float(f"{grams:.3g}")


def total(figures: Iterable[EnergyFigure]) -> EnergyFigure:
    """Add figures of one method at one site; unknown ones add no energy and lower the coverage.

    If the site's constants differ (from month to month), the sum has their means, weighted by energy. Raises ValueError
    for no figures, and for figures of different methods or sites.
    """
    listed = list(figures)
    if not listed:
        raise ValueError("nothing to add up")
    first = listed[0]
    if len(listed) == 1:
        return first
    columns = _columns(listed)
    is_one_site = columns.site.count(first.site) == len(listed)
    if columns.method.count(first.method) < len(listed) or not (
        is_one_site or {site.name for site in columns.site} == {first.site.name}
    ):
        raise ValueError("figures of different methods or sites must not be added")
    known = [figure for figure in listed if figure.it_energy_kwh is not None]
    of_known = columns if len(known) == len(listed) else _columns(known)
    bands = [(band.low, band.expected, band.high) for band in of_known.it_energy_kwh if band is not None]
    return EnergyFigure(
        method=first.method,
        site=first.site if is_one_site else _blended(listed),
        it_energy_kwh=Band(*map(fsum, zip(*bands, strict=True))) if bands else None,
        allocated_s=fsum(columns.allocated_s),
        covered_s=fsum(of_known.covered_s),
        extended_s=fsum(of_known.extended_s),
        scope=_joined(of_known.scope),
        detail=_joined(of_known.detail),
        tool=_joined(columns.tool),
        version=_joined(of_known.version),
        reason=_joined(columns.reason) or None,
    )


def _columns(figures: Sequence[EnergyFigure]) -> Any:
    """Transpose figures into one whose fields hold the values of all, which sum three times as fast."""
    return EnergyFigure._make(zip(*figures, strict=True) if figures else ((),) * len(EnergyFigure._fields))


def _blended(figures: Sequence[EnergyFigure]) -> Site:
    return blended((figure.site, figure.it_energy_kwh.expected if figure.it_energy_kwh else 0.0) for figure in figures)


def preferred(figures: Iterable[EnergyFigure]) -> EnergyFigure | None:
    """Return the single figure to quote of one figure per method and site, if there is one (`quotable_method`)."""
    listed = list(figures)
    return figure_by(quotable_method([listed]), listed)


def quotable_method(sums: Iterable[Sequence[EnergyFigure]]) -> Method | None:
    """Return the best method that covers enough of every sum, otherwise the best that each has, so that they compare.

    Each sum has one figure per method and site. Those over several sites, or without any figure, have none to quote by
    any method and are left out. The card's convention is never quoted.
    """
    known = [[one for one in figures if one.it_energy_kwh is not None] for figures in sums if _is_one_site(figures)]
    tables = [{one.method: one for one in figures} for figures in known if figures]
    common = [method for method in PREFERENCE if tables and all(method in table for table in tables)]
    enough = [one for one in common if all((table[one].coverage or 0.0) >= LEAST_COVERAGE for table in tables)]
    return next(iter(enough or common), None)


def figure_by(method: str | None, figures: Sequence[EnergyFigure]) -> EnergyFigure | None:
    """Return the figure by a method; None over several sites, of which each has its own."""
    return next((one for one in figures if one.method == method), None) if _is_one_site(figures) else None


def _is_one_site(figures: Iterable[EnergyFigure]) -> bool:
    return len({figure.site.name for figure in figures}) == 1


def implausible(figure: EnergyFigure, gpu_hours: float | None) -> str | None:
    """Return a warning if the energy per GPU-hour is outside what such machines can draw, otherwise None."""
    if figure.it_energy_kwh is None or not gpu_hours:
        return None
    low, high = PLAUSIBLE_KWH_PER_GPU_HOUR
    per_hour = figure.it_energy_kwh.expected / gpu_hours
    if low <= per_hour <= high:
        return None
    return f"{per_hour:.3g} kWh per GPU-hour is outside {low:g} to {high:g}: check which devices were counted"


def _joined(parts: Iterable[str | None]) -> str:
    return "; ".join(dict.fromkeys(filter(None, parts)))
