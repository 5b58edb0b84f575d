"""Energy and CO2 as figures that say how they were obtained; pure arithmetic.

A figure holds **IT energy** only. Facility energy (PUE x IT energy) and CO2 (facility energy x grid factor) are
derived from it at the very end, so neither can be applied twice: the trap of trackers that store energy already
multiplied by a PUE. Unknown is None with a reason, never 0, and figures of different methods are never added.

What `detour status` makes for every attempt is a named tuple, which is made and compared faster than a dataclass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import fsum
from typing import Any, NamedTuple

from detour.site import Site, blended


class Method(StrEnum):
    """How a figure was obtained; the value is what people read beside it."""

    MEASURED = "M1 measured"
    """Differences of hardware energy counters (`measured`); the `detail` says what was filled in or a model."""
    CODECARBON = "codecarbon"
    """codecarbon around the stage; the figure's `detail` says what was a counter and what a model."""
    ESTIMATED = "M2 estimated"
    """Reserved hardware x time x nominal power."""
    SLURM = "M3 Slurm"
    """Slurm's ConsumedEnergyRaw of an exclusive allocation."""
    CARD = "card convention"
    """Reserved GPU-hours x board power, as published model cards count; a convention, not a measurement."""

    @property
    def is_measured(self) -> bool:
        """Whether something watched the work; what no one watched has a share of the time that is known, not seen."""
        return self not in (Method.ESTIMATED, Method.CARD)


PREFERENCE = (Method.MEASURED, Method.SLURM, Method.ESTIMATED, Method.CODECARBON)
"""Best first; codecarbon is a source beside them, quoted where there is no other. The card's convention is shown beside
these, never in their place."""
LEAST_COVERAGE = 0.9
"""Share of the allocated time that counters must have seen to be preferred."""
PLAUSIBLE_KWH_PER_GPU_HOUR = (0.05, 1.5)
ROUNDING_S = 1e-6


@dataclass(frozen=True, slots=True)
class Band:
    """A quantity with the range it may lie in. Errors of one method are systematic, so bands add linearly."""

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

    `covered_s` of `allocated_s` seconds stand behind `it_energy_kwh`; `extended_s` more were not seen but filled in
    at the mean power of the rest (a tail lost to a kill, a tracker that was still starting). What is left has no
    figure at all.
    """

    method: Method
    site: Site
    it_energy_kwh: Band | None
    allocated_s: float
    covered_s: float
    extended_s: float = 0.0
    scope: str = ""
    """What is counted: `GPU boards`, `machine`, `GPU boards, CPU cores and RAM`."""
    detail: str = ""
    """How, where the method alone does not say it: `CPU by load model`."""
    tool: str = "detour"
    version: str = ""
    reason: str | None = None
    """Why there is no figure, or a warning about the one there is."""

    @property
    def facility_energy_kwh(self) -> Band | None:
        """PUE x IT energy; the only place where the PUE is applied."""
        if self.it_energy_kwh is None or self.site.pue is None:
            return None
        return self.it_energy_kwh * self.site.pue.value

    @property
    def co2_g(self) -> Band | None:
        """Grams of CO2eq of the electricity used; hardware manufacture (embodied carbon) is not in it."""
        energy = self.facility_energy_kwh
        if energy is None or self.site.grid_g_per_kwh is None:
            return None
        return energy * self.site.grid_g_per_kwh.value

    @property
    def coverage(self) -> float | None:
        """Share of the allocated time that was really seen, filled-in time not included; None when nothing ran."""
        return min(1.0, self.covered_s / self.allocated_s) if self.allocated_s > 0 else None

    @property
    def uncounted_s(self) -> float:
        """Allocated seconds for which no energy is in the figure."""
        left_s = self.allocated_s - self.covered_s - self.extended_s
        return left_s if left_s > ROUNDING_S else 0.0

    @property
    def warning(self) -> str | None:
        """What to bear in mind about the figure there is."""
        return None if self.it_energy_kwh is None else self.reason

    @property
    def missing(self) -> str | None:
        """Why there is no CO2 figure, None when there is one."""
        if self.it_energy_kwh is None:
            return self.reason or "no energy figure"
        if self.site.pue is None:
            return f"no PUE is known for {self.site.name}"
        if self.site.grid_g_per_kwh is None:
            return f"no grid factor is known for {self.site.name}"
        return None


def total(figures: Iterable[EnergyFigure]) -> EnergyFigure:
    """Sum of figures of one method at one site; what has no figure lowers the coverage and adds no energy.

    Where the site's constants differ (from month to month), the sum has their means, weighted by energy. Raises
    ValueError for an empty sum and for figures that must not be added: other methods, other sites.
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
    """A figure whose fields are each those of all: they add up in a third of the time."""
    return EnergyFigure._make(zip(*figures, strict=True) if figures else ((),) * len(EnergyFigure._fields))


def _blended(figures: Sequence[EnergyFigure]) -> Site:
    return blended((figure.site, figure.it_energy_kwh.expected if figure.it_energy_kwh else 0.0) for figure in figures)


def preferred(figures: Iterable[EnergyFigure]) -> EnergyFigure | None:
    """The figure to quote when only one can be: the best method that saw enough; the card's convention never."""
    by_method = {figure.method: figure for figure in figures if figure.it_energy_kwh is not None}
    ranked = [by_method[method] for method in PREFERENCE if method in by_method]
    sufficient = (figure for figure in ranked if (figure.coverage or 0.0) >= LEAST_COVERAGE)
    return next(sufficient, next(iter(ranked), None))


def implausible(figure: EnergyFigure, gpu_hours: float | None) -> str | None:
    """A warning when the energy per GPU-hour is outside what any machine of this kind draws, else None."""
    if figure.it_energy_kwh is None or not gpu_hours:
        return None
    low, high = PLAUSIBLE_KWH_PER_GPU_HOUR
    per_hour = figure.it_energy_kwh.expected / gpu_hours
    if low <= per_hour <= high:
        return None
    return f"{per_hour:.3g} kWh a GPU-hour is outside {low:g} to {high:g}: check which devices were counted"


def _joined(parts: Iterable[str | None]) -> str:
    return "; ".join(dict.fromkeys(filter(None, parts)))
