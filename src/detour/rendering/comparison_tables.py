"""Tables that compare usage: with its price, with what it produced, and with the site's own figure."""

from __future__ import annotations

from detour.rendering import words
from detour.rendering.cost_tables import MOST_CHAINS
from detour.rendering.tables import Column, Table, energy, number, or_dash
from detour.reporting.report import Report
from detour.text import format_count, format_duration


def prices(report: Report) -> Table:
    columns = (
        Column("kind", "stages"),
        number("stages", "finished", words.whole),
        number("priced", "priced before", words.whole),
        number("expected_s", "expected", format_duration),
        number("actual_s", "took", format_duration),
        number("median_error", "median error", words.signed_percent),
        number("largest_error", "largest error", words.signed_percent),
        number("within", "within the band", words.whole),
    )
    return Table("prices", "", columns, [row for row in report.accuracy if row.priced])


def token_yields(report: Report) -> Table:
    unit = f"{report.device}-hour"
    columns = (
        Column("chain", "chain"),
        Column("phase", "phase"),
        number("tokens", "tokens", format_count),
        number("hours", f"{unit}s", words.figure),
        energy("facility_energy_kwh", "energy with PUE"),
        Column("energy_method", "method"),
        number("tokens_per_kwh", "tokens per kWh", words.count_of),
        number("tokens_per_hour", f"tokens per {unit}", words.count_of),
    )
    note = "Redone and failed work is in the hours and in the energy, not in the tokens."
    return Table("tokens-per-kwh", "", columns, report.token_yields, note)


def points(report: Report) -> Table:
    unit = f"{report.device}-h"
    columns = (
        Column("chain", "chain"),
        number("score", "mean score", words.in_percent),
        number("hours", unit, words.figure),
        number("co2_g", "CO2eq", words.co2),
        number("more_points", "points above the cheapest", words.signed),
        number("more_hours", f"{unit} above the cheapest", words.signed),
        number("hours_per_point", f"{unit} per point", or_dash(words.significant)),
        Column("is_best_so_far", "no cheaper one as good", words.yes),
    )
    return Table("cost-per-point", "", columns, [] if report.cut else report.point_costs, shown=MOST_CHAINS)


def points_texts(report: Report) -> tuple[str, ...]:
    if report.cut or not report.point_costs:
        return ()
    return ("Scores are means over all tasks. Shared stages are in the hours of every chain that needs them.",)


def reconciliation(report: Report) -> Table:
    found = report.reconciliation
    if found is None:
        return Table("site-figure", "", (), [])
    columns = (
        Column("reason", "reason for the difference"),
        number("hours", found.unit, words.signed_figure),
    )
    return Table("site-figure", "", columns, found.parts)
