"""Prices in words: what a set of stages costs on a cluster, with where every number came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from detour.accounting.energy import Band, EnergyFigure
from detour.accounting.price import History, Price, Total, price, total
from detour.plan.stage import Stage
from detour.recipe.cluster import Cluster
from detour.recipe.quantities import format_duration


def price_stages(
    stages: Collection[Stage], cluster: Cluster, history: History, gpus: int | None
) -> tuple[dict[str, Price], Total]:
    """Prices by stage id, and their sum; every stage once, however many chains need it."""
    prices = {stage.id: price(stage, cluster, history, gpus) for stage in stages}
    return prices, total(stages, prices, cluster)


def render_price(prices: Mapping[str, Price], sums: Total, cluster: Cluster) -> str:
    """At most 100 columns; trainings one by one while they are few, then the total and what is not in it."""
    if len(sums.unpriced) == len(prices):
        return f"Price on {cluster.name}: unknown until a chain like this one has run here once"
    lines = [f"Price on {cluster.name} (expected, and low to high in brackets)"]
    trainings = [row for row in prices.values() if row.kind == "pretrain" and row.wall_s]
    if len(trainings) <= 12:
        for row in trainings:
            assert row.wall_s is not None
            took = f"{row.gpus} GPUs x {format_duration(row.wall_s.expected)}" if row.gpus else "no GPU"
            lines.append(f"  {row.label:<22} {_hours(row.gpu_hours):<30} {took}")
            lines.append(f"  {'':<22} {row.source}")
    lines.append(f"  {'total':<22} {_hours(sums.gpu_hours):<30} billed {_number(sums.billed_hours.expected)} h")
    lines += [f"  {figure.method.value:<22} {_energy(figure)}" for figure in sums.figures]
    lines.append(f"  {'critical path':<22} {format_duration(sums.critical_path_s.expected)} without queueing")
    lines.append(f"  {'checkpoints':<22} {sums.disk_bytes / 1e9:,.1f} GB on disk")
    if sums.unpriced:
        shown = ", ".join(sums.unpriced[:3]) + (", ..." if len(sums.unpriced) > 3 else "")
        lines.append(f"  not in the total: {len(sums.unpriced)} stages that nobody has timed here yet ({shown})")
    return "\n".join(lines)


def price_json(prices: Mapping[str, Price], sums: Total) -> dict[str, Any]:
    return {
        "stages": {stage_id: _price_json(row) for stage_id, row in prices.items()},
        "total": {
            "gpu_hours": _band_json(sums.gpu_hours),
            "billed_hours": _band_json(sums.billed_hours),
            "critical_path_s": _band_json(sums.critical_path_s),
            "disk_bytes": sums.disk_bytes,
            "energy": [
                {
                    "method": figure.method.value,
                    "facility_energy_kwh": _band_json(figure.facility_energy_kwh),
                    "co2_g": _band_json(figure.co2_g),
                    "pue": str(figure.site.pue),
                    "grid_g_per_kwh": str(figure.site.grid_g_per_kwh),
                }
                for figure in sums.figures
            ],
            "unpriced": list(sums.unpriced),
        },
    }


def _price_json(row: Price) -> dict[str, Any]:
    return {
        "label": row.label,
        "gpus": row.gpus,
        "wall_s": _band_json(row.wall_s),
        "gpu_hours": _band_json(row.gpu_hours),
        "billed_hours": _band_json(row.billed_hours),
        "disk_bytes": row.disk_bytes,
        "source": row.source,
    }


def _band_json(band: Band | None) -> dict[str, float] | None:
    return None if band is None else {"low": band.low, "expected": band.expected, "high": band.high}


def _hours(band: Band | None) -> str:
    if band is None:
        return "unknown"
    return f"{_number(band.expected)} GPU-h ({_number(band.low)} to {_number(band.high)})"


def _energy(figure: EnergyFigure) -> str:
    energy, co2 = figure.facility_energy_kwh, figure.co2_g
    if energy is None or co2 is None:
        return figure.missing or "unknown"
    spread = f" ({co2.low / 1000:,.2f} to {co2.high / 1000:,.2f})" if co2.low < co2.high else ""
    site = figure.site
    assert site.pue is not None
    assert site.grid_g_per_kwh is not None
    constants = f"PUE {site.pue.value:g}, {site.grid_g_per_kwh.value:g} g/kWh"
    return f"{_number(energy.expected)} kWh, {co2.expected / 1000:,.2f} kg CO2eq{spread}; {constants}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"
