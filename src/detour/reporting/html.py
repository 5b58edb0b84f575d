"""The report as one HTML page that needs nothing else: style and plots inside, no script, nothing fetched.

Names, reasons and versions come from recipes, logs and journals: untrusted, so the template escapes everything, and a
content security policy forbids whatever could still slip through.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from detour.reporting import words
from detour.reporting.charts import SERIES, fate_bar, score_chart, training_chart
from detour.reporting.data import SOURCE_COUNTS, Chain, Cost, Report, SourceCounts, Stage, TaskScores
from detour.text import format_count, format_duration

FATES = {
    "useful": "useful work",
    "startup": "start-up and restore",
    "redone": "lost to an interruption, done again",
    "failed": "lost to an error",
    "idle": "idle",
}
METHODS = {
    "codecarbon": "counters and models read by codecarbon while the stage ran; unseen time is filled in at the mean",
    "M2 estimated": "reserved GPUs, cores and memory x time x their nominal power",
    "card convention": "reserved GPU-hours x the board's power limit, as published model cards count; no measurement",
}


def render_html(report: Report) -> str:
    """The whole page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        count=format_count,
        duration=format_duration,
        energy=words.energy,
        energy_spread=words.energy_spread,
        co2=words.co2,
        co2_spread=words.co2_spread,
        hours=words.hours,
        instant=words.instant,
        metric=words.metric,
        percent=words.percent,
        score=words.score,
        significant=words.significant,
    )
    folder = files("detour.reporting")
    template = environment.from_string((folder / "report.html").read_text(encoding="utf-8"))
    style = Markup((folder / "report.css").read_text(encoding="utf-8"))
    return template.render(style=style, **page(report))


def page(report: Report) -> dict[str, Any]:
    """Everything the template names, drawn and worded."""
    method = words.quotable_method([chain.cost for chain in report.chains])
    colours = {chain.name: index for index, chain in enumerate(report.chains)}
    return {
        "report": report,
        "title": ", ".join(colours),
        "ledes": [lede(chain, report, method) for chain in report.chains],
        "colours": {name: index % SERIES for name, index in colours.items()},
        "words": words,
        "score_tasks": score_tasks(report),
        "corpora": corpora(report),
        "source_counts": SOURCE_COUNTS,
        "training": [(chain, training_chart(chain, colours[chain.name])) for chain in report.chains],
        "fate_bar": fate_bar,
        "fates": FATES,
        "methods": METHODS,
        "costs": costs(report),
        "constants": constants(report),
        "wasted": words.wasted(report.total),
        "own_stages": own_stages(report),
    }


def lede(chain: Chain, report: Report, method: str | None) -> dict[str, str]:
    """The first line: what was trained, what it cost, what came out."""
    alone = chain.status == "done" and len(report.chains) == 1
    return {
        "name": chain.name,
        "trained": words.what_was_trained(chain) + (f" in {words.wall(chain)}" if alone else ""),
        "cost": f"It took {words.cost_in_words(chain.cost, method)}",
        "result": words.capital(words.what_came_out(chain, [report.stages[stage_id] for stage_id in chain.stages])),
    }


def ledes(report: Report) -> list[str]:
    """The first lines of the page as plain text, a chain each."""
    method = words.quotable_method([chain.cost for chain in report.chains])
    lines = [lede(chain, report, method) for chain in report.chains]
    return ["{name}: {trained}. {cost}. {result}.".format(**line) for line in lines]


def corpora(report: Report) -> list[tuple[str, list[SourceCounts]]]:
    """(names of the chains that were trained on it, its sources) of every corpus."""
    users: dict[str, list[str]] = {}
    found: dict[str, list[SourceCounts]] = {}
    for chain in report.chains:
        if chain.sources:
            users.setdefault(repr(chain.sources), []).append(chain.name)
            found[repr(chain.sources)] = chain.sources
    return [(", ".join(names), found[key]) for key, names in users.items()]


def score_tasks(report: Report) -> list[dict[str, Any]]:
    """By task: its plot, its metric, and every chain's scores."""
    tasks: dict[str, list[tuple[str, int, TaskScores]]] = {}
    for index, chain in enumerate(report.chains):
        for scores in chain.scores:
            tasks.setdefault(scores.task, []).append((chain.name, index, scores))
    return [
        {
            "task": task,
            "metric": words.metric(next((scores.metric for _, _, scores in rows if scores.metric), None)),
            "chart": score_chart(task, rows),
            "rows": rows,
            "seeds": list(dict.fromkeys(seed for _, _, scores in rows for seed in scores.by_seed)),
            "notes": list(dict.fromkeys(note for _, _, scores in rows for note in scores.notes)),
        }
        for task, rows in tasks.items()
    ]


def costs(report: Report) -> list[tuple[str, Cost]]:
    """The total first when there are several chains; it counts shared stages once."""
    chains = [(chain.name, chain.cost) for chain in report.chains]
    return [("All chains, shared stages once", report.total), *chains] if len(chains) > 1 else chains


def constants(report: Report) -> list[tuple[str, str, str, str]]:
    """(site, constant, value, source) of all that turned energy into facility energy and CO2."""
    rows = []
    for row in report.total.energy:
        rows.append((row.site, "PUE", row.pue))
        rows.append((row.site, "grid factor, gCO2eq/kWh", row.grid_g_per_kwh))
    return list(
        dict.fromkeys(
            (site, name, f"{value.value:g}", value.source + (f", {value.year}" if value.year else ""))
            if value
            else (site, name, words.UNKNOWN, "not in the profile")
            for site, name, value in rows
        )
    )


def own_stages(report: Report) -> list[tuple[str, list[Stage]]]:
    """Stages under the chain they belong to; those of several chains first, under their own heading."""
    groups = [("Shared, done once", report.shared)] if report.shared else []
    for chain in report.chains:
        mine = [report.stages[stage_id] for stage_id in chain.stages]
        groups.append((chain.name, [stage for stage in mine if len(stage.chains) == 1]))
    return groups
