"""Ready-made statements about usage, to review and paste. None of them claims compliance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum
from typing import Any

import orjson
import yaml

from detour.accounting.energy import Method, card_grams, quotable_method
from detour.rendering import words
from detour.rendering.boamps import boamps
from detour.reporting.data import Chain, Cost, Stage, is_cut
from detour.reporting.purpose import Purpose, PurposeRow
from detour.reporting.report import Hardware, Report
from detour.site import Sourced
from detour.sums import complete_sum
from detour.text import counted, format_duration, listed
from detour.times import DAY_S

MOST_CARDS = MOST_NAMES = 8

PARTIAL = "part of this work is outside the report's period; request a report without one"
HOW = {
    Method.MEASURED: "measured by hardware energy counters",
    Method.CODECARBON: "tracked by codecarbon",
    Method.SLURM: "counted by Slurm",
    Method.ESTIMATED: "estimated from the hardware's nominal power",
    Method.CARD: "reserved hours at the boards' power limit",
}
"""Descriptions of the methods for readers unfamiliar with detour."""


@dataclass(frozen=True, slots=True)
class Statement:
    name: str
    title: str
    text: str
    language: str = "text"
    """Language of its code block: text, yaml or json."""


def statements(report: Report) -> list[Statement]:
    """Return the statements, none before anything ran."""
    if not report.total.attempts:
        return []
    return [
        Statement("neurips", "Compute resources, as the NeurIPS checklist asks", neurips(report)),
        Statement("methods", "For a methods section", methods_sentence(report)),
        *_cards(report),
        Statement("annex-xi", "Training compute and energy, as the EU AI Act's Annex XI asks", annex_xi(report)),
        *_boamps(report),
    ]


def _boamps(report: Report) -> Iterator[Statement]:
    """Yield the BoAmps record, if it has the measure and the component that its schema requires."""
    record = boamps(report)
    if record["measures"] and record["infrastructure"]["components"]:
        yield Statement("boamps", "BoAmps report", orjson.dumps(record, option=orjson.OPT_INDENT_2).decode(), "json")


def neurips(report: Report) -> str:
    """Return type of workers and memory, compute per run and in total, and that of preliminary and failed runs."""
    when = f", {words.days(*report.span_s, report.period.time_zone)}" if report.span_s else ""
    said = [
        f"We ran {_machines(report.hardware)}.",
        _each_released(report),
        _longest(report),
        *_by_purpose(report),
        f"In total: {_total(report.total)}{when}.",
    ]
    return " ".join(filter(None, said))


def methods_sentence(report: Report) -> str:
    """Return a sentence with hours, energy by its method and band, and CO2 with its constants."""
    row = report.total.quoted
    all_of_them = ", failed and interrupted ones included," if report.total.attempts > 1 else ""
    used = f"The work took {_total(report.total)}{all_of_them} in {_machines(report.hardware)}."
    if row is None or row.facility_energy_kwh is None:
        known = "given by site in the report" if row is None and words.is_by_site(report.total) else words.UNKNOWN
        return f"{used} Its energy is {known}{f': {row.missing}' if row else ''}."
    is_seen = row.method.is_measured and row.coverage is not None
    seen = f", {words.percent(row.coverage, 0)} % of the time seen" if is_seen else words.partly(row)
    spread = words.energy_spread(row.facility_energy_kwh)
    energy = f"{words.energy(row.facility_energy_kwh.expected)} ({_between(spread)}{HOW[row.method]}{seen})"
    used += f" It used {energy}, a PUE of {_sourced(row.site.pue)} included."
    grid = row.site.grid_g_per_kwh
    if row.co2_g is None or grid is None:
        return f"{used} The grid factor is unknown, and so are the emissions."
    return (
        f"{used} At {_sourced(grid, ' gCO2eq/kWh')}, this is {words.co2(row.co2_g.expected)} CO2eq "
        f"({_between(words.co2_spread(row.co2_g))}embodied carbon not included)."
    )


def card(report: Report, chain: Chain) -> str:
    """Return the front matter for a model card on the hub, in which `emissions` is a number in grams."""
    if is_cut(chain, report.stages):
        return f"# no CO2 figure: {PARTIAL}\n"
    row = chain.cost.quoted
    if row is None or row.co2_g is None:
        return f"# no CO2 figure: {row.missing if row else 'no method has one for all of this chain'}\n"
    clusters = {attempt.cluster for stage_id in chain.stages for attempt in report.stages[stage_id].attempts}
    hardware = [one for one in report.hardware if one.cluster in clusters]
    country = ", ".join(dict.fromkeys(one.country for one in hardware if one.country))
    emissions: dict[str, Any] = {
        "emissions": card_grams(row.co2_g),
        "source": f"detour {report.version}, {HOW[row.method]}{words.partly(row)}: PUE {_sourced(row.site.pue)}, "
        f"grid factor {_sourced(row.site.grid_g_per_kwh, ' gCO2eq/kWh')}",
        "training_type": "pre-training",
        **({"geographical_location": country} if country else {}),
        "hardware_used": _machines(hardware),
    }
    return yaml.safe_dump({"co2_eq_emissions": emissions}, sort_keys=False, allow_unicode=True, width=100)


def annex_xi(report: Report) -> str:
    """Return the statement on the trainings that released models descend from; estimates are marked as such."""
    trainings = released_trainings(report)
    attempts = [attempt for stage in trainings for attempt in stage.attempts]
    if any(stage.is_cut for stage in trainings):
        return f"No figures: {PARTIAL}"
    if not attempts:
        return "No training of a released model is in this report."
    flops = training_flops(report)
    wall_s = max(one.ended_s for one in attempts) - min(one.started_s for one in attempts)
    devices = [(one.gpus if report.has_gpus else one.cpus, one.allocated_s) for one in attempts]
    held_s = complete_sum(None if count is None else count * allocated_s for count, allocated_s in devices)
    days = None if held_s is None else held_s / DAY_S
    method = quotable_method(stage.cost.energy for stage in trainings)
    rows = [row for stage in trainings if (row := stage.cost.energy_by(method)) and row.facility_energy_kwh]
    kwh = fsum(row.facility_energy_kwh.expected for row in rows if row.facility_energy_kwh)
    known = "unknown" if flops is None else f"{flops:.2g} FLOP, estimated"
    energy = words.UNKNOWN
    if method is not None and len(rows) == len(trainings):
        mwh = words.significant(float(f"{kwh / 1000:.2g}"))
        energy = f"{mwh} MWh, PUE included, {HOW[method]}{words.partly(*rows)}"
    held = "GPU" if report.has_gpus else "CPU core"
    lines = [
        f"Models: {listed(report.released, MOST_NAMES)}",
        f"Computation used for training: {known} (forward and backward passes by the model's shape, every token once)",
        f"Training time: {words.significant(wall_s / DAY_S, 2)} days from first start to last end; "
        f"{words.significant(days, 2)} {held} days of hardware, interrupted and failed attempts included",
        f"Energy used for training: {energy}",
        f"Hardware: {_machines(report.hardware)}",
    ]
    return "\n".join(lines)


def released_trainings(report: Report) -> list[Stage]:
    ids = {stage_id: None for chain in report.chains if chain.name in report.released for stage_id in chain.stages}
    return [report.stages[stage_id] for stage_id in ids if report.stages[stage_id].kind == "pretrain"]


def training_flops(report: Report) -> float | None:
    """Return the FLOPs of the trainings that released models descend from, each once; None if a shape is unknown."""
    ids = {stage.id for stage in released_trainings(report)}
    phases = {phase.stage: phase for chain in report.chains for phase in chain.phases if phase.stage in ids}
    parts = [
        None if phase.flops_per_token is None or phase.tokens is None else phase.flops_per_token * phase.tokens
        for phase in phases.values()
    ]
    known = [part for part in parts if part is not None]
    return fsum(known) if known and len(known) == len(parts) else None


def _cards(report: Report) -> Iterator[Statement]:
    released = [chain for chain in report.chains if chain.name in report.released]
    for number, chain in enumerate(released[:MOST_CARDS], 1):
        more = len(released) - MOST_CARDS if number == MOST_CARDS else 0
        others = f"; for {counted(more, 'more released chain')}: detour report CHAIN" if more > 0 else ""
        yield Statement(f"card-{chain.name}", f"Model card of {chain.name}{others}", card(report, chain), "yaml")


def _machines(hardware: list[Hardware]) -> str:
    """`jobs of up to 4 x H100 (80 GB) on jean-zay`; simulated GPUs are marked as such."""
    return " and ".join(f"jobs of {_held(one)} on {one.cluster}" for one in hardware) or "jobs on unknown machines"


def _held(one: Hardware) -> str:
    if one.most_gpus is None:
        return "an unknown number of GPUs"
    if one.most_gpus:
        memory = f" ({one.gpu_memory_gb:g} GB)" if one.gpu_memory_gb else ""
        kind = f"{'simulated ' if one.simulated else ''}{one.gpu.upper() if one.gpu else 'GPU of an unknown type'}"
        return f"up to {one.most_gpus:.6g} x {kind}{memory}"
    return f"up to {counted(one.most_cpus, 'CPU core')}" if one.most_cpus else "an unknown number of CPU cores"


def _each_released(report: Report) -> str:
    """Return the cost of one released model from corpus to scores, if several were released and all are known."""
    whole = [chain for chain in report.chains if chain.name in report.released and not is_cut(chain, report.stages)]
    costs = [chain.cost.hours(report.has_gpus) for chain in whole]
    each = sorted(cost.value for cost in costs if cost.value is not None and not cost.unknown)
    if len(each) < max(2, len(report.released)):
        return ""
    spread = words.figure(each[0]) if each[0] == each[-1] else f"{words.figure(each[0])} to {words.figure(each[-1])}"
    took = f"{spread} {report.device}-hours"
    return f"Each released model took {took}, failed attempts and stages that models share included."


def _by_purpose(report: Report) -> Iterator[str]:
    """Yield what the checklist asks for: whether the project needed more compute than the reported runs."""
    rows = {row.purpose: row for row in report.purposes if row.attempts}
    if "final" in rows:
        models = "The released model" if len(report.released) == 1 else "Together, the released models"
        what = models if report.released else "Stages of released models that are not in this report"
        yield f"{what} took {_hours_of(rows['final'], report)}, work repeated after interruptions included."
    elif not report.released:
        yield "No released model is in this report."
    more: dict[Purpose, str] = {
        "development": "Preliminary and development runs, from which no released model descends, took",
        "open": "Runs that are still under way have taken",
        "failed": "Attempts that ended in an error took",
    }
    yield from (f"{what} {_hours_of(rows[purpose], report)}." for purpose, what in more.items() if purpose in rows)
    if not rows.keys() & more.keys():
        yield "There were no preliminary runs, and no attempt ended in an error."


def _hours_of(row: PurposeRow, report: Report) -> str:
    return words.hours_of(row.gpu_hours if report.has_gpus else row.cpu_hours, f"{report.device}-hours")


def _longest(report: Report) -> str:
    """Return the cost of a single run: the training with the most allocated time."""
    trained = [
        stage for stage in report.stages.values() if stage.kind == "pretrain" and stage.attempts and not stage.is_cut
    ]
    if not trained:
        return ""
    longest = max(trained, key=lambda stage: stage.cost.allocated_s)
    took = format_duration(longest.cost.allocated_s)
    return f"The longest single training took {took} in {counted(longest.cost.attempts, 'attempt')}."


def _total(cost: Cost) -> str:
    return f"{words.used_hours(cost)} in {counted(cost.attempts, 'attempt')}"


def _sourced(constant: Sourced | None, unit: str = "") -> str:
    """`34 gCO2eq/kWh (the operator [France], 2024)`: nested parentheses become brackets."""
    if constant is None:
        return words.UNKNOWN
    return f"{constant.value:.6g}{unit} ({constant.origin.replace('(', '[').replace(')', ']')})"


def _between(spread: str) -> str:
    return f"{spread}, " if spread else ""
