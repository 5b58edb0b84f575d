"""Hours, energy and CO2 of a chain from its report, with the single figure that the metadata state."""

from __future__ import annotations

from collections.abc import Sequence

from detour.accounting.energy import EnergyFigure, Method, figure_by, preferred
from detour.cards.content import Compute, Energy
from detour.config.cluster import Cluster
from detour.errors import UserError
from detour.planning.files import Target
from detour.reporting.data import Chain
from detour.reporting.profiles import ProfileOf
from detour.reporting.report import Report
from detour.text import exact


def compute_of(report: Report, chain: Chain, method: Method | None, profile_of: ProfileOf, target: Target) -> Compute:
    """Return the compute of a chain; without a recorded cluster, that of its `target`."""
    attempts = [attempt for stage_id in chain.stages for attempt in report.stages[stage_id].attempts]
    names = dict.fromkeys(attempt.cluster for attempt in attempts if attempt.cluster) or [target.cluster]
    clusters = [cluster for cluster in map(profile_of, names) if cluster is not None]
    hours, fates = chain.cost.gpu_hours.value, chain.cost.fates_gpu_hours
    rows = [Energy(row, _arithmetic(row)) for row in chain.cost.energy]
    return Compute(
        attempts=chain.cost.attempts,
        gpu_hours=hours,
        cpu_hours=chain.cost.cpu_hours.value,
        not_useful_gpu_hours=None if hours is None else fates.allocated - fates.useful,
        unknown_gpus=chain.cost.gpu_hours.unknown,
        unknown_cpus=chain.cost.cpu_hours.unknown,
        hardware=_hardware(report, max((attempt.gpus or 0 for attempt in attempts), default=0), clusters),
        countries=tuple(dict.fromkeys(cluster.site.country for cluster in clusters if cluster.site.country)),
        energy=tuple(rows),
        quoted=quoted(rows, method),
    )


def quoted(rows: Sequence[Energy], method: Method | None) -> Energy | None:
    """Return the row of `method`, by default the one that a report quotes, None if it has no CO2 figure.

    Raises UserError if the given method has none, or one for each of several sites.
    """
    figures = [one.row for one in rows]
    chosen = preferred(figures) if method is None else figure_by(method, figures)
    if chosen is not None and chosen.co2_g is not None:
        return next(one for one in rows if one.row is chosen)
    if method is None:
        return None
    asked = [one for one in figures if one.method == method]
    reason = next((one.missing for one in asked if one.missing), None)
    otherwise = "the chain ran at several sites, which have a figure each" if asked else "it has no figure"
    raise UserError(f"{method.value}: {reason or otherwise}; leave --method out, or choose another")


def _arithmetic(row: EnergyFigure) -> str | None:
    pue, grid = row.site.pue, row.site.grid_g_per_kwh
    if not (pue and grid and row.it_energy_kwh and row.co2_g):
        return None
    it_kwh, board_w = row.it_energy_kwh.expected, row.site.gpu_board_w
    tail = f"PUE {exact(pue.value)} x {exact(grid.value)} g/kWh = {exact(row.co2_g.expected)} g"
    if row.method == Method.CARD.value and board_w:
        board_kw = board_w.value / 1000
        return f"{exact(it_kwh / board_kw)} GPU-h x {exact(board_kw)} kW x {tail}"
    return f"{exact(it_kwh)} kWh x {tail}"


def _hardware(report: Report, gpus: float, clusters: Sequence[Cluster]) -> tuple[str, ...]:
    """Return the GPUs, as named in their profiles, otherwise the machines that the stages recorded."""
    types = [cluster.gpu.type for cluster in clusters if cluster.gpu and not cluster.gpu.simulated]
    if gpus and types:
        return tuple(f"{gpus:.6g} x {name}" for name in dict.fromkeys(types))
    return tuple(report.versions.machines)
