"""The sections of a report with their tables, in reading order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from detour.accounting.energy import Method
from detour.rendering import comparison_tables, cost_tables, energy_tables, result_tables, words
from detour.rendering.tables import Table
from detour.reporting.report import Report
from detour.text import listed

MOST_NAMES = 8
METHODS = {
    Method.MEASURED: "differences of hardware energy counters, read by detour while the stage ran",
    Method.CODECARBON: "counters and models read by codecarbon while the stage ran, unseen time filled in at the mean",
    Method.SLURM: "energy that Slurm counted for an exclusive allocation",
    Method.ESTIMATED: "reserved GPUs, cores and memory x time x their nominal power",
    Method.CARD: "reserved GPU-hours x the board's power limit, as published model cards count; no measurement",
}


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    """Anchor on the page."""
    title: str
    tables: list[Table]
    texts: tuple[str, ...] = ()


def sections(report: Report) -> list[Section]:
    """Return the sections that have any rows."""
    return [section for section in _sections(report) if any(table.rows for table in section.tables)]


def tables(report: Report) -> Iterator[Table]:
    for section in sections(report):
        yield from (table for table in section.tables if table.rows)


def _sections(report: Report) -> Iterator[Section]:
    several = len(report.chains) > 1
    consumed = [*cost_tables.burns(report), cost_tables.periods(report), cost_tables.chain_costs(report)]
    yield Section("consumption", "Consumption", consumed)
    if report.grid is not None:
        yield Section("grid", "The sweep" if report.sweep else "Side by side", result_tables.grids(report))
    yield Section("results", "Results", [*result_tables.scores(report), result_tables.results(report)])
    if several:
        yield Section(
            "points",
            "Cost per point of score",
            [comparison_tables.points(report)],
            comparison_tables.points_texts(report),
        )
    yield Section("training", "Training", [result_tables.losses(report), result_tables.phases(report)])
    yield Section(
        "hours",
        "Hours by fate and stage",
        [
            cost_tables.fates(report),
            cost_tables.by_stage(report),
            cost_tables.by_user(report),
            cost_tables.waste(report),
            cost_tables.intervals(report),
        ],
        (words.wasted(report.total),),
    )
    yield Section("purpose", "Final, development, failed", [cost_tables.purposes(report)], _released(report))
    yield Section(
        "energy",
        "Energy and CO2, by method",
        [
            energy_tables.energies(report),
            energy_tables.constants(report),
            energy_tables.asides(report),
            energy_tables.equivalents(report),
        ],
        (_methods(report),),
    )
    yield Section("yield", "Tokens per kWh", [comparison_tables.token_yields(report)])
    yield Section("waits", "Waiting in the queue", [cost_tables.waits(report)])
    yield Section("prices", "Price against actual", [comparison_tables.prices(report)])
    yield Section(
        "site", "Against the site's own figure", [comparison_tables.reconciliation(report)], _reconciled(report)
    )
    yield Section("data", "The corpus", [result_tables.sources(report)])
    yield Section("quality", "Data quality", [result_tables.quality(report)])
    yield Section("stages", "Stages", [result_tables.stages(report), result_tables.attempts(report)])
    yield Section("provenance", "Provenance", [result_tables.hardware(report), result_tables.provenance(report)])


def _released(report: Report) -> tuple[str, ...]:
    names = listed(report.released, MOST_NAMES)
    return (f"Counted as released: {names}." if names else "No released model is in this report.",)


def _methods(report: Report) -> str:
    used = dict.fromkeys(row.method for row in report.total.energy if row.it_energy_kwh is not None)
    meanings = "; ".join(f"{method}: {METHODS[Method(method)]}" for method in used)
    return (
        f"{meanings or 'No method has a figure'}. Methods are never added to one another. Facility energy = PUE x IT "
        "energy and CO2eq = facility energy x grid factor, each applied once. Embodied carbon of the hardware is in "
        "none of them."
    )


def _reconciled(report: Report) -> tuple[str, ...]:
    found = report.reconciliation
    if found is None:
        return ()
    share = "" if found.difference is None else f" ({100 * abs(found.difference):.2f} % of its figure)"
    side = "more" if found.difference_hours >= 0 else "less"
    ours = f"{words.figure(found.our_hours)} {found.unit}, {found.basis}"
    if found.our_hours != found.allocated_hours:
        ours += f" ({words.figure(found.allocated_hours)} allocated)"
    return (
        f"The site's figure is {words.figure(found.site_hours)} {found.unit}, from “{found.written}”; "
        f"we count {ours}. "
        f"The site has {words.figure(abs(found.difference_hours))} {found.unit} {side}{share}.",
    )
