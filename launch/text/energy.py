"""Energy and CO2 of chains by method, in at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from detour.accounting.account import ChainEnergy, SiteEnergy
from detour.accounting.energy import Band, EnergyFigure
from detour.launch.text.price import band_json
from detour.launch.text.screen import NARROWEST
from detour.text import (
    ENERGY_UNITS,
    MASS_UNITS,
    amount,
    exact,
    format_count,
    format_duration,
    plain,
    scaled,
    stage_label,
    unit_for,
    wrapped,
)

_LABEL = 22


def chain_energy_lines(energy: ChainEnergy) -> Iterator[str]:
    if not energy.sites:
        yield f"{plain(energy.chain)}: no attempt yet, so no energy"
        return
    for site in energy.sites:
        hours, unknown = site.gpu_hours
        more = f" (+ {unknown} unknown)" if hours is not None and unknown else ""
        yield f"{plain(energy.chain)} on {plain(site.site)}: {_hours(hours)} GPU-h{more}"
        yield from _methods(site)
        yield from _beside(site)
    if (rate := energy.tokens_per_kwh) is not None:
        low, high = format_count(round(rate.low)), format_count(round(rate.high))
        yield f"  tokens per kWh: {format_count(round(rate.expected))} ({low} to {high}), the whole chain's energy"
    yield from _stages(energy)


def _methods(site: SiteEnergy) -> Iterator[str]:
    yield f"  {'method':<16}{'energy (low to high)':<27}{'CO2eq (low to high)':<25}{'covered':>8}"
    for figure in site.figures:
        mark = "*" if figure is site.quoted else " "
        if figure.it_energy_kwh is None:
            yield from wrapped(f"{figure.method.value:<16}unknown: {plain(figure.missing or '')}", "  ", NARROWEST)
            continue
        energy = _spread(figure.facility_energy_kwh or figure.it_energy_kwh, ENERGY_UNITS)
        covered = _covered(figure)
        line = f" {mark}{figure.method.value:<16}{energy:<27}{_spread(figure.co2_g, MASS_UNITS):<25}{covered:>8}"
        yield line.rstrip()
        yield from wrapped(_details(figure), " " * 4, NARROWEST)
    constants = (site.quoted or next((one for one in site.figures if one.it_energy_kwh), site.figures[0])).site
    factor = constants.grid_g_per_kwh or "unknown"
    yield from wrapped(f"PUE {constants.pue or 'unknown'}; gCO2eq/kWh {factor}", width=NARROWEST)
    if site.quoted is not None:
        yield "  * quoted: measured if it covers 90 % of the time, else Slurm's, else estimated"


def _details(figure: EnergyFigure) -> str:
    parts = [figure.scope, figure.detail, f"{figure.tool} {figure.version}".strip() if figure.version else ""]
    if figure.extended_s >= 1:
        parts.append(f"{format_duration(figure.extended_s)} filled in")
    if figure.facility_energy_kwh is None:
        parts.append("before PUE")
    return "; ".join(plain(part) for part in (*parts, figure.reason or "") if part)


def _beside(site: SiteEnergy) -> Iterator[str]:
    """Figures that are never added to the electricity of the jobs."""
    if site.embodied.co2_g is not None:
        grams = scaled(site.embodied.co2_g, MASS_UNITS)
        yield from wrapped(f"in addition, hardware: {grams} CO2eq at {site.embodied.factor} per GPU-h", width=NARROWEST)
    if site.idle is not None and site.idle.it_energy_kwh is not None:
        grams = scaled(site.idle.co2_g.expected if site.idle.co2_g else None, MASS_UNITS)
        yield from wrapped(f"in addition, idle nodes: {grams} CO2eq at {site.idle.share} kWh per kWh", width=NARROWEST)


def _stages(energy: ChainEnergy) -> Iterator[str]:
    yield f"  {'stage':<{_LABEL}}{'GPU-h':>9}  {'energy':>10}{'CO2eq':>10}  {'covered':>7}  method"
    for stage in energy.stages:
        for site in stage.sites:
            figure, hours = site.quoted, _hours(site.gpu_hours.value)
            label = stage_label(plain(stage.outline.name), stage.outline.seed, _LABEL - 1)
            kwh = figure and (figure.facility_energy_kwh or figure.it_energy_kwh)
            energy_text = scaled(kwh.expected if kwh else None, ENERGY_UNITS)
            grams = scaled(figure.co2_g.expected if figure and figure.co2_g else None, MASS_UNITS)
            covered = _covered(figure) if figure else ""
            method = figure.method.value if figure else ""
            yield f"  {label:<{_LABEL}}{hours:>9}  {energy_text:>10}{grams:>10}  {covered:>7}  {method}".rstrip()


def _hours(hours: float | None) -> str:
    return "unknown" if hours is None else amount(hours)


def _covered(figure: EnergyFigure) -> str:
    """Share of the time covered by a counter; empty for methods that measure nothing."""
    return f"{figure.coverage:.0%}" if figure.method.is_measured and figure.coverage is not None else ""


def _spread(band: Band | None, units: Sequence[tuple[float, str]]) -> str:
    if band is None:
        return "unknown"
    if band.low == band.high:
        return scaled(band.expected, units)
    scale, unit = unit_for(band.expected, units)
    low, expected, high = (exact(value / scale, 3) for value in (band.low, band.expected, band.high))
    return f"{expected} {unit} ({low} to {high})"


def energy_json(energy: ChainEnergy) -> dict[str, Any]:
    return {
        "chain": energy.chain,
        "tokens": energy.tokens,
        "tokens_per_kwh": band_json(energy.tokens_per_kwh),
        "sites": [site_json(site) for site in energy.sites],
        "stages": [
            {"id": stage.outline.id, "label": stage.outline.label, "sites": [site_json(site) for site in stage.sites]}
            for stage in energy.stages
        ],
    }


def site_json(site: SiteEnergy) -> dict[str, Any]:
    return {
        "site": site.site,
        "gpu_hours": site.gpu_hours._asdict(),
        "energy_method": site.quoted and site.quoted.method.value,
        "energy": [figure_json(figure) for figure in site.figures],
        "embodied": {**site.embodied._asdict(), "factor": site.embodied.factor and site.embodied.factor.to_json()},
        "idle": site.idle
        and {
            "it_energy_kwh": band_json(site.idle.it_energy_kwh),
            "co2_g": band_json(site.idle.co2_g),
            "share": site.idle.share and site.idle.share.to_json(),
            "missing": site.idle.missing,
        },
    }


def figure_json(figure: EnergyFigure) -> dict[str, Any]:
    site = figure.site
    return {
        "method": figure.method.value,
        "site": site.name,
        "it_energy_kwh": band_json(figure.it_energy_kwh),
        "facility_energy_kwh": band_json(figure.facility_energy_kwh),
        "co2_g": band_json(figure.co2_g),
        "coverage": figure.coverage,
        "extended_s": figure.extended_s,
        "uncounted_s": figure.uncounted_s,
        "scope": figure.scope,
        "detail": figure.detail,
        "pue": site.pue and site.pue.to_json(),
        "grid_g_per_kwh": site.grid_g_per_kwh and site.grid_g_per_kwh.to_json(),
        "tool": figure.tool,
        "version": figure.version,
        "missing": figure.missing,
        "note": figure.warning,
    }
