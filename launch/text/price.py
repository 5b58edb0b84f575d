"""Prices in words: the cost of stages on a cluster, with the source of every number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from detour.accounting.energy import Band, EnergyFigure, Method
from detour.config.cluster import Cluster
from detour.grouping import grouped
from detour.planning.stage import Stage
from detour.pricing.plan_price import PlanPrice
from detour.pricing.price import Price
from detour.pricing.totals import Total
from detour.site import Site
from detour.text import amount, counted, format_duration, stage_names, wrapped

PART, STAGES, HOURS = range(3)
"""Columns of the table; the second is left out on a narrow screen."""


def render_price(price: PlanPrice, width: int) -> str:
    """One row per part, the total, then times, disk and sources.

    No line of text is longer than `width`, which must be 80 or more.
    """
    whole = price.whole
    if len(whole.unpriced) == whole.stages:
        return f"Price on {price.cluster.name}: unknown until a chain like this one has run here once"
    methods = [figure.method for figure in whole.figures]
    headings = [f"{method.value.split()[0]} {unit}" for method in methods for unit in ("kWh", "kg")]
    rows = [["", "stages", "GPU-h" if price.cluster.gpu else "hours", "billed h", *headings]]
    for name, part in (*price.parts.items(), ("total", whole)):
        rows.append([*_figures(name, part, price.cluster), *_energies(part, methods)])
    title = f"Price on {price.cluster.name}: expected (low to high)"
    notes, sources = (
        [line for text in texts for line in wrapped(text, width=width)] for texts in (_notes(price), _sources(price))
    )
    return "\n".join([title, *_table(rows, width), *notes, "Sources of the durations:", *sources])


def price_json(price: PlanPrice) -> dict[str, Any]:
    return {
        "cluster": price.cluster.name,
        "stages": {
            stage.id: {"label": stage.label, **stage_price_json(price.prices[stage.id])} for stage in price.stages
        },
        "parts": {name: _total_json(part) for name, part in price.parts.items()},
        "total": _total_json(price.whole) | {"critical_path_s": band_json(price.critical_path_s)},
    }


def stage_price_json(row: Price) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "gpus": row.gpus,
        "cores": row.cores,
        "wall_s": band_json(row.wall_s),
        "gpu_hours": band_json(row.gpu_hours),
        "billed_hours": band_json(row.billed_hours),
        "disk_bytes": row.disk_bytes,
        "work_bytes": row.work_bytes,
        "source": row.source,
    }


def band_json(band: Band | None) -> dict[str, float] | None:
    return None if band is None else {"low": band.low, "expected": band.expected, "high": band.high}


def hours_in_words(band: Band) -> str:
    if band.low == band.high:
        return amount(band.expected)
    return f"{amount(band.expected)} ({amount(band.low)} to {amount(band.high)})"


def _table(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Part and hours are left-aligned, figures right-aligned."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    columns = list(range(len(sizes)))
    if sum(sizes) + 2 * len(sizes) > width:
        columns.remove(STAGES)
    gap = "  " if sum(sizes[column] + 2 for column in columns) <= width else " "
    lines = []
    for row in rows:
        cells = (f"{row[at]:<{sizes[at]}}" if at in (PART, HOURS) else f"{row[at]:>{sizes[at]}}" for at in columns)
        lines.append(f"  {gap.join(cells)}".rstrip())
    return lines


def _figures(name: str, part: Total, cluster: Cluster) -> tuple[str, str, str, str]:
    """GPU-hours, or hours of the stages on a cluster without GPU."""
    has_gpus, stages, unknown = cluster.gpu is not None, f"{part.stages:,}", _uncounted(part, cluster)
    if len(unknown) == part.stages:
        return name, stages, "unknown", "unknown" if has_gpus else "0"
    hours = hours_in_words(part.gpu_hours if has_gpus else part.hours)
    billed = "unknown" if part.billed_hours is None else amount(part.billed_hours.expected)
    return name, stages, hours + (" *" if unknown else ""), billed


def _uncounted(part: Total, cluster: Cluster) -> tuple[Stage, ...]:
    """Stages missing from the hours shown. A stage without a GPU uses no GPU-hours, however long it runs."""
    return part.without_gpu_hours if cluster.gpu else part.unpriced


def _energies(part: Total, methods: Sequence[Method]) -> list[str]:
    """kWh and kg of each method, in pairs."""
    by_method = {figure.method: figure for figure in part.figures}
    cells: list[str] = []
    for method in methods:
        figure = by_method.get(method)
        energy, co2 = (figure.facility_energy_kwh, figure.co2_g) if figure else (None, None)
        cells += [amount(energy.expected) if energy else "", _kg(co2.expected) if co2 else ""]
    return cells


def _kg(grams: float) -> str:
    return f"{grams / 1000:,.2f}" if grams >= 10 else f"{grams / 1000:.2g}"


def _notes(price: PlanPrice) -> Iterator[str]:
    whole = price.whole
    if unknown := _uncounted(whole, price.cluster):
        yield f"* without {counted(len(unknown), 'stage')} of unknown duration; see the sources below"
    yield from map(_method_in_words, whole.figures)
    if whole.figures:
        yield _site_in_words(whole.figures[0].site)
    missing = (
        f", and without {stage_names([stage.name for stage in whole.unpriced])}, of unknown duration"
        if whole.unpriced
        else ""
    )
    yield f"longest path {_durations(price.critical_path_s)}, without queueing{missing}"
    left_out = f"; {stage_names([stage.name for stage in whole.unsized])} not counted" if whole.unsized else ""
    more = f", and up to {amount(whole.work_bytes / 1e9)} GB more during each training" if whole.work_bytes else ""
    yield f"checkpoints and models: {amount(whole.disk_bytes / 1e9)} GB on disk{more}{left_out}"


def _sources(price: PlanPrice) -> Iterator[str]:
    by_source = grouped((price.prices[stage.id].source, stage.name) for stage in price.stages)
    for source, names in by_source.items():
        yield f"{stage_names(names)}: {source}"


def _method_in_words(figure: EnergyFigure) -> str:
    """`M2 estimated: nominal power x reserved time, GPU boards; 14.0 to 31.0 kWh, 0.37 to 0.77 kg CO2eq`."""
    scope = max(figure.scope.split("; "), key=len)
    method, energy, co2 = f"{figure.method.value}: {figure.detail}, {scope}", figure.facility_energy_kwh, figure.co2_g
    if energy is None or energy.low == energy.high:
        return method
    kg = f", {_kg(co2.low)} to {_kg(co2.high)} kg CO2eq" if co2 else ""
    return f"{method}; {amount(energy.low)} to {amount(energy.high)} kWh{kg}"


def _site_in_words(site: Site) -> str:
    if site.pue is None or site.grid_g_per_kwh is None:
        return f"no CO2: {'the PUE' if site.pue is None else 'the grid factor'} of {site.name} is unknown"
    sources = dict.fromkeys((site.pue.source, site.grid_g_per_kwh.source))
    return f"kWh with PUE {site.pue.value:g}, {site.grid_g_per_kwh.value:g} gCO2eq/kWh: {'; '.join(sources)}"


def _durations(band: Band) -> str:
    if band.low == band.high:
        return format_duration(band.expected)
    return f"{format_duration(band.expected)} ({format_duration(band.low)} to {format_duration(band.high)})"


def _total_json(sums: Total) -> dict[str, Any]:
    return {
        "stages": sums.stages,
        "hours": band_json(sums.hours),
        "gpu_hours": band_json(sums.gpu_hours),
        "billed_hours": band_json(sums.billed_hours),
        "disk_bytes": sums.disk_bytes,
        "work_bytes": sums.work_bytes,
        "energy": [
            {
                "method": figure.method.value,
                "scope": figure.scope,
                "it_energy_kwh": band_json(figure.it_energy_kwh),
                "facility_energy_kwh": band_json(figure.facility_energy_kwh),
                "co2_g": band_json(figure.co2_g),
                "pue": figure.site.pue and figure.site.pue.to_json(),
                "grid_g_per_kwh": figure.site.grid_g_per_kwh and figure.site.grid_g_per_kwh.to_json(),
            }
            for figure in sums.figures
        ],
        "unpriced": [stage.label for stage in sums.unpriced],
        "unsized": [stage.label for stage in sums.unsized],
    }
