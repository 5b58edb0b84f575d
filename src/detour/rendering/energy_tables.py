"""Tables of energy and CO2: by method, the constants behind them, and what is shown beside them."""

from __future__ import annotations

from typing import NamedTuple

from detour.accounting.energy import EnergyFigure
from detour.rendering import words
from detour.rendering.cost_tables import MOST_CHAINS, scoped
from detour.rendering.tables import Column, Table, co2, energy, number
from detour.reporting.report import Report
from detour.site import Sourced
from detour.text import format_duration


class ScopedEnergy(NamedTuple):
    of: str
    row: EnergyFigure


class Constant(NamedTuple):
    site: str
    name: str
    value: float | None
    source: str
    year: int | None = None
    kind: str | None = None
    zone: str | None = None


def energies(report: Report) -> Table:
    """Return energies; methods without a figure are listed for the total only, where they state the reason."""
    rows = [
        ScopedEnergy(one.of, row)
        for one in scoped(report)
        for row in one.cost.energy
        if row.it_energy_kwh is not None or one.cost is report.total or len(report.chains) == 1
    ]
    columns = (
        Column("of", ""),
        Column("method", "method", path="row.method"),
        Column("site", "site", path="row.site.name", is_main=len({row.site.name for row in report.total.energy}) > 1),
        energy("it_energy_kwh", "IT energy", "row.it_energy_kwh"),
        energy("facility_energy_kwh", "with PUE", "row.facility_energy_kwh"),
        co2("co2_g", "CO2eq", "row.co2_g"),
        number("coverage", "covered", words.in_percent, "row.coverage"),
        number("extended_s", "filled in", format_duration, "row.extended_s", main=False),
        number("uncounted_s", "not counted", format_duration, "row.uncounted_s", main=False),
        Column(
            "scope", "what is included, or why there is no figure", get=lambda one: one.row.scope or one.row.missing
        ),
        Column("detail", "how", path="row.detail", is_main=False),
        Column("tool", "tool", path="row.tool", is_main=False),
        Column("version", "version", path="row.version", is_main=False),
        Column("missing", "no figure because", path="row.missing", is_main=False),
        Column("note", "note", path="row.warning", is_main=False),
    )
    note = (
        "Covered is the share of the allocated time behind a figure: seen by counters, or, for the estimate "
        "and the card's convention, with the numbers that they need."
    )
    return Table("energy", "", columns, rows, note, shown=MOST_CHAINS)


def _constant(site: str, name: str, constant: Sourced | None) -> Constant:
    if constant is None:
        return Constant(site, name, None, "not in the profile")
    source = f"weighted mean of: {constant.source}" if constant.is_mean else constant.source
    return Constant(site, name, constant.value, source, constant.year, constant.kind, constant.zone)


def constants(report: Report) -> Table:
    """Return the constants that convert energy to facility energy and CO2; of each site, those of methods with a
    figure."""
    used = {row.site.name for row in report.total.energy if row.it_energy_kwh is not None}
    found = dict.fromkeys(
        _constant(row.site.name, name, constant)
        for row in report.total.energy
        if row.it_energy_kwh is not None or row.site.name not in used
        for name, constant in (("PUE", row.site.pue), ("grid factor, gCO2eq/kWh", row.site.grid_g_per_kwh))
    )
    columns = (
        Column("site", "site"),
        Column("constant", "constant", path="name"),
        number("value", "value", words.exact),
        Column("source", "source"),
        Column("year", "year"),
        Column("kind", "kind"),
        Column("zone", "zone"),
    )
    return Table("constants", "Constants", columns, list(found))


def asides(report: Report) -> Table:
    columns = (
        Column("site", "site"),
        Column("what", ""),
        co2("co2_g", "CO2eq"),
        number("constant", "constant", words.exact, "constant.value"),
        Column("source", "source", path="constant.source"),
    )
    return Table("beside", "Shown separately, not added", columns, report.asides)


def equivalents(report: Report) -> Table:
    columns = (number("amount", "as much as", words.significant), Column("name", ""), Column("source", "source"))
    return Table("equivalents", "In other words", columns, report.equivalents)
