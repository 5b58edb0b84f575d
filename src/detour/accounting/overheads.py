"""Figures shown next to the electricity of jobs and never added to it: hardware, and the machine's idle energy."""

from __future__ import annotations

from typing import NamedTuple

from detour.accounting.energy import Band, EnergyFigure
from detour.site import Site, Sourced


class Embodied(NamedTuple):
    """Manufacture and transport of the hardware (scope 3), per GPU-hour of its lifetime."""

    co2_g: float | None
    factor: Sourced | None
    """gCO2eq per GPU-hour."""
    missing: str | None


class Idle(NamedTuple):
    """A share of the machine's consumption apart from jobs: idle nodes, network, storage."""

    it_energy_kwh: Band | None
    co2_g: Band | None
    share: Sourced | None
    """kWh per kWh of the jobs."""
    missing: str | None


def embodied(site: Site, gpu_hours: float | None) -> Embodied:
    factor = site.embodied_g_per_gpu_hour
    if factor is None:
        return Embodied(None, None, f"no embodied carbon is known for {site.name}")
    if gpu_hours is None:
        return Embodied(None, factor, "the number of GPUs is unknown")
    return Embodied(factor.value * gpu_hours, factor, None)


def idle(figure: EnergyFigure) -> Idle:
    """Return the idle energy that belongs to a figure, with its PUE and grid factor."""
    share = figure.site.idle_kwh_per_kwh
    if share is None or figure.it_energy_kwh is None:
        reason = "no energy figure" if share is not None else f"no idle energy is known for {figure.site.name}"
        return Idle(None, None, share, reason)
    co2_g = figure.co2_g
    return Idle(figure.it_energy_kwh * share.value, co2_g and co2_g * share.value, share, figure.missing)


def tokens_per_kwh(tokens: int | None, figure: EnergyFigure) -> Band | None:
    """Return tokens per kWh of facility energy, None if the PUE is unknown; the high energy gives the low value."""
    energy = figure.facility_energy_kwh
    if tokens is None or energy is None or energy.low <= 0:
        return None
    return Band(tokens / energy.high, tokens / energy.expected, tokens / energy.low)
