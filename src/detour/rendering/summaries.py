"""The top of the page: the owner, what was trained, its cost, and the main figures."""

from __future__ import annotations

from typing import NamedTuple

from detour.accounting.energy import EnergyFigure
from detour.rendering import words
from detour.reporting.data import Chain
from detour.reporting.report import Report
from detour.text import counted, plain

FEW = 4
"""Maximum number of chains that get a sentence each."""


class ChainSummary(NamedTuple):
    name: str
    sentence: str
    result: str


class Tile(NamedTuple):
    label: str
    figure: str
    small: str


def chain_summaries(report: Report) -> list[ChainSummary]:
    """Return a sentence per chain, or one about all if there are many."""
    if len(report.chains) > FEW:
        return [_of_many(report)]
    method = report.method
    return [_of_one(chain, report, chain.cost.energy_by(method)) for chain in report.chains]


def summary_lines(report: Report) -> list[str]:
    """Return the sentences for a terminal."""
    return [plain(f"{one.name}: {one.sentence} {words.capital(one.result)}.") for one in chain_summaries(report)]


def origin(report: Report) -> str:
    return f"detour report · {words.instant(report.generated_s, report.period.time_zone)}"


def facts(report: Report) -> list[tuple[str, str]]:
    owner = report.owner
    listed = [
        ("Project", owner.project if owner and owner.project != report.title else ""),
        ("Grant", (owner and owner.grant) or ""),
        ("Institution", (owner and owner.institution) or ""),
        ("People", ", ".join(owner.people) if owner else ""),
        ("Period", words.days(*report.span_s, report.period.time_zone) if report.span_s else ""),
        (
            "Machines",
            ", ".join(one.cluster + (" (simulated GPUs)" if one.simulated else "") for one in report.hardware),
        ),
        ("Code", ", ".join(report.versions.code)),
    ]
    return [(name, value) for name, value in listed if value]


def tiles(report: Report) -> list[Tile]:
    total = report.total
    row = total.quoted
    done = sum(chain.status == "done" for chain in report.chains)
    billed = "bill unknown" if total.billed_hours.value is None else f"{words.hours(total.billed_hours)} billed"
    energy, carbon = (row.facility_energy_kwh, row.co2_g) if row else (None, None)
    method = words.obtained(row) if row else ""
    uncovered = "several sites: see below" if words.is_by_site(total) else "no method covers all of it"
    unknown = (row.missing if row else None) or uncovered
    return [
        Tile(
            f"{report.device}-hours",
            words.hours(total.hours(report.has_gpus)),
            billed if report.has_gpus else counted(total.attempts, "attempt"),
        ),
        Tile("useful", words.in_percent(total.useful_share), "of the hours allocated"),
        Tile("energy", words.energy_of(energy), _joined(words.energy_spread(energy), method) if energy else unknown),
        Tile("CO2eq", words.co2_of(carbon), _joined(words.co2_spread(carbon), method) if carbon else unknown),
        Tile("chains done", f"{done} of {len(report.chains)}", f"{counted(total.attempts, 'attempt')}"),
    ]


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _of_one(chain: Chain, report: Report, energy: EnergyFigure | None) -> ChainSummary:
    alone = chain.status == "done" and len(report.chains) == 1
    trained = words.what_was_trained(chain) + (f" in {words.wall(chain)}" if alone else "")
    stages = [report.stages[stage_id] for stage_id in chain.stages]
    took = "In this period it used" if report.period.is_bounded else "It took"
    cost = f"{took} {words.cost_in_words(chain.cost, energy)}"
    if not chain.cost.attempts:
        cost = "Nothing ran on it in this period" if report.period.is_bounded else "Nothing has run yet"
    sentence = f"{trained}. {cost}."
    return ChainSummary(chain.name, sentence, words.capital(words.what_came_out(chain, stages)))


def _of_many(report: Report) -> ChainSummary:
    done = sum(chain.status == "done" for chain in report.chains)
    cost = words.cost_in_words(report.total, report.total.quoted)
    best = max(report.point_costs, key=lambda row: row.score, default=None)
    result = (
        "no chain has all its scores yet"
        if best is None
        else f"best mean score {words.in_percent(best.score)}, of {best.chain}"
    )
    when = " in this period" if report.period.is_bounded else ""
    took = f"All of them took {cost}{when}" if report.total.attempts else f"Nothing ran{when or ' yet'}"
    shared = f", {counted(len(report.shared), 'stage')} shared" if report.shared else ""
    return ChainSummary(
        report.title,
        f"{done} of {len(report.chains)} chains are done{shared}. {took}.",
        words.capital(result),
    )
