"""Render the report as one self-contained HTML page, with style and plots inside and without scripts.

Names, reasons and versions come from recipes, logs and journals and are untrusted. So the template escapes everything,
and a content security policy blocks anything that might still slip through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from detour.monitoring.status import Status
from detour.rendering import burn_text, cost_tables, result_tables, status_tables
from detour.rendering.charts.costs import bars, burn_chart, energy_chart, fates_chart
from detour.rendering.charts.scores import grid_chart, points_chart, score_chart
from detour.rendering.charts.svg import CANVASES, Canvas, series
from detour.rendering.charts.timeline import timeline_chart
from detour.rendering.charts.training import training_chart
from detour.rendering.contents import Section, sections
from detour.rendering.cost_tables import scoped
from detour.rendering.statements import statements
from detour.rendering.summaries import chain_summaries, facts, origin, tiles
from detour.rendering.tables import Table
from detour.reporting.data import AttemptRow
from detour.reporting.report import Report
from detour.text import counted

KEYED = ("chain", "of")
"""Columns whose names are shown in the chain's colour."""
FOLDED = frozenset({"losses", "phases", "grid", "attempts", "stages", "sources", "constants", "provenance"})
"""Tables of details, which are folded if they are long; other tables only if they are twice as long."""
OPEN = frozenset({"hours", "now-chains", "now-stages"})
"""Tables that are open however long they are. On paper, that of the chains may be the only one."""
LONG = 12
LONG_WORD = 28


Plots: TypeAlias = dict[str, tuple[str, Callable[[Canvas], Markup]]]
"""Table name -> the legend below its plots, and the function that draws them."""


class Figure(NamedTuple):
    """A table with its plots."""

    table: Table
    plots: list[Markup]
    legend: str
    """Legend below the plots: fates, chains, burn, or none."""
    is_folded: bool

    @property
    def is_bare(self) -> bool:
        """Whether nothing of it shows while it is folded."""
        return self.is_folded and not self.plots


def render_html(report: Report, status: Status | None = None) -> str:
    """Return the whole page; with a status, what is going on now comes first."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"counted": counted, "has_long_word": has_long_word, "whole": whole, "with_code": with_code}
    folder = files("detour.rendering")
    template = environment.from_string((folder / "report.html").read_text(encoding="utf-8"))
    style = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return template.render(style=style, **page(report, status))


def has_long_word(text: str) -> bool:
    """Whether a text has a long word, such as a path or a digest, in which lines may break."""
    return any(len(word) > LONG_WORD for word in text.split())


def whole(text: str) -> str:
    """Replace hyphens by non-breaking ones."""
    return text.replace("-", "\N{NON-BREAKING HYPHEN}")


def with_code(text: str) -> Markup:
    """Mark up what is between backquotes, such as commands."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marked = [Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)]
    return Markup("").join(marked)


def page(report: Report, status: Status | None = None) -> dict[str, Any]:
    """Return all variables of the template."""
    listed = sections(report) if status is None else _live_sections(report, status)
    colours = {chain.name: series(index) for index, chain in enumerate(report.chains)} if len(report.chains) > 1 else {}
    plots = _plots(report)
    return {
        "report": report,
        "kicker": origin(report),
        "chain_summaries": chain_summaries(report),
        "facts": facts(report),
        "tiles": tiles(report),
        "colours": colours,
        "sections": [(one, [_figure(table, plots) for table in one.tables if table.rows]) for one in listed],
        "statements": statements(report),
        "keyed": KEYED,
    }


def _live_sections(report: Report, status: Status) -> list[Section]:
    """Return first consumption and attempts over time, and what is going on now; then the rest of the report."""
    first = [
        *cost_tables.burns(report),
        result_tables.attempts(report),
        status_tables.stages(status),
        status_tables.chains(status, report.period.time_zone),
    ]
    shown = {table.name for table in first}
    rest = [
        replace(section, tables=[table for table in section.tables if table.name not in shown])
        for section in sections(report)
    ]
    now = Section("now", "Now", [table for table in first if table.rows])
    return [now, *(section for section in rest if any(table.rows for table in section.tables))]


def _figure(table: Table, plots: Plots) -> Figure:
    legend, draw = plots.get(table.name, ("", None))
    drawn = [plot for canvas in CANVASES if draw and (plot := draw(canvas))]
    is_long = len(table.main_rows) > (LONG if table.name in FOLDED else 2 * LONG)
    is_folded = table.name not in OPEN and (is_long or table.name == "losses")
    return Figure(table, drawn, legend if drawn else "", is_folded)


def _plots(report: Report) -> Plots:
    unit = f"{report.device}-hours"
    costs = [(one.of, one.cost.fates(report.has_gpus)) for one in scoped(report)]
    found: Plots = {
        "losses": ("chains", partial(training_chart, chains=report.chains)),
        "fates": ("fates", partial(fates_chart, rows=costs)),
        "by-stage": ("", partial(bars, rows=_hours_by_stage(report), unit=unit)),
        "energy": ("", partial(energy_chart, rows=report.total.energy)),
        "cost-per-point": ("", partial(points_chart, rows=report.point_costs, unit=unit)),
        "grid": ("", partial(_grids, report=report, unit=unit)),
        "attempts": ("outcomes", partial(timeline_chart, rows=_attempts(report), time_zone=report.period.time_zone)),
    }
    for one in report.burns:
        legend = "burn" if one.burn.cap is not None else ""
        found[burn_text.name(one)] = (legend, partial(burn_chart, burn=one.burn, curve=one.curve, unit=one.unit))
    for task in dict.fromkeys(scores.task for chain in report.chains for scores in chain.scores):
        rows = [
            (chain.name, index, scores)
            for index, chain in enumerate(report.chains)
            for scores in chain.scores
            if scores.task == task
        ]
        found[f"scores-{task}"] = ("", partial(score_chart, task=task, chains=rows))
    return found


def _hours_by_stage(report: Report) -> list[tuple[str, float]]:
    hours: dict[str, float] = {}
    for stage in report.stages.values():
        used = stage.cost.hours(report.has_gpus).value or 0.0
        hours[stage.name] = hours.get(stage.name, 0.0) + used
    return list(hours.items())


def _attempts(report: Report) -> dict[str, list[AttemptRow]]:
    """Return the attempts by chain, of a single one by stage, with those of all its seeds together."""
    found: dict[str, list[AttemptRow]] = {}
    for stage in report.stages.values():
        for name in stage.chains if len(report.chains) > 1 else [stage.name]:
            found.setdefault(name, []).extend(stage.attempts)
    return found


def _grids(canvas: Canvas, report: Report, unit: str) -> Markup:
    """Draw the grid by score and by cost."""
    if report.grid is None:
        return Markup("")
    scores: dict[str, float | None] = {}
    hours: dict[str, float | None] = {}
    for chain in report.chains:
        scores[chain.name] = None if chain.mean_score is None else 100 * chain.mean_score
        hours[chain.name] = chain.cost.hours(report.has_gpus).value if chain.cost.attempts else None
    by_score = grid_chart(canvas, report.grid, scores, "mean score, %")
    return by_score + grid_chart(canvas, report.grid, hours, unit)
