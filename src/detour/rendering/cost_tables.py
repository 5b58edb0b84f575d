"""Tables of usage: hours by chain, period and stage, fates, waste, purpose, budgets and waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from detour.accounting.energy import Band
from detour.accounting.fates import Fates, Known
from detour.accounting.hours import HOUR_S
from detour.budgets.burn import Row
from detour.grouping import grouped
from detour.rendering import burn_text, words
from detour.rendering.tables import Column, Table, co2, energy, hours, number, or_dash
from detour.reporting.data import AttemptRow, Cost
from detour.reporting.purpose import PURPOSES, PurposeRow
from detour.reporting.report import BurnDown, Report
from detour.text import format_duration

FATES = {"useful": "useful", "startup": "start-up and restore", "redone": "redone", "failed": "failed", "idle": "idle"}
ALL = "all, shared stages once"
FEW_ROWS, POINTS = 2, 6
MOST_CHAINS = 60


class Scoped(NamedTuple):
    """A cost and what it belongs to."""

    of: str
    cost: Cost


class ChainCost(NamedTuple):
    """A chain, or all of them, with its energy by the method that the report quotes."""

    of: str
    status: str | None
    score: float | None
    cost: Cost
    facility_energy_kwh: Band | None
    co2_g: Band | None


class ByName(NamedTuple):
    """Stages of one name, of any seed and chain."""

    name: str
    stages: int
    attempts: int
    allocated_s: float
    cpu_hours: Known
    gpu_hours: Known
    fates_s: Fates


class ByUser(NamedTuple):
    user: str | None
    attempts: int
    gpu_hours: Known
    billed_hours: Known
    cpu_hours: Known
    allocated_s: float
    fates_s: Fates


class PurposeShare(NamedTuple):
    row: PurposeRow
    meaning: str
    share: float | None


def scoped(report: Report) -> list[Scoped]:
    """Return the cost of each chain, after the total if there are several."""
    chains = [Scoped(chain.name, chain.cost) for chain in report.chains]
    return [Scoped(ALL, report.total), *chains] if len(chains) > 1 else chains


def chain_costs(report: Report) -> Table:
    """Return the one table that has every chain on paper, too."""
    known, method = {chain.name: chain for chain in report.chains}, report.method
    rows = [
        ChainCost(
            of,
            chain.status if chain else None,
            chain.mean_score if chain else None,
            cost,
            row and row.facility_energy_kwh,
            row and row.co2_g,
        )
        for of, cost in scoped(report)
        for chain, row in ((known.get(of), cost.energy_by(method)),)
    ]
    columns = (
        Column("of", ""),
        Column("status", "status"),
        number("score", "mean score, %", or_dash(words.percent)),
        number("attempts", "attempts", words.whole, "cost.attempts"),
        hours("gpu_hours", "GPU-hours", "cost.gpu_hours", main=report.has_gpus),
        hours("billed_hours", "billed GPU-hours", "cost.billed_hours", main=report.has_gpus),
        hours("cpu_hours", "CPU-hours", "cost.cpu_hours"),
        number("useful_share", "useful", words.in_percent, "cost.useful_share"),
        number("allocated_s", "time of all attempts", format_duration, "cost.allocated_s", main=False),
        Column("facility_energy_kwh", "energy with PUE", words.energy_of, shape="band"),
        Column("co2_g", "CO2eq", words.co2_of, shape="band"),
    )
    note = f"Energy and CO2eq are {words.OBTAINED[method]}." if method else ""
    title = "Chains" if len(report.chains) > 1 else "Hours"
    return Table("hours", title, columns, rows, note, shown=MOST_CHAINS)


def periods(report: Report) -> Table:
    columns = (
        Column("period", "period"),
        number("attempts", "attempts", words.whole),
        hours("gpu_hours", "GPU-hours", main=report.has_gpus),
        hours("billed_hours", "billed GPU-hours", "billed_hours", main=report.has_gpus),
        hours("cpu_hours", "CPU-hours"),
        number("useful_share", "useful", words.in_percent),
        energy("facility_energy_kwh", "energy with PUE"),
        co2("co2_g", "CO2eq"),
        Column("energy_method", "method"),
    )
    note = (
        "An attempt over a boundary is split by its seconds, measured energy by the readings, and is an attempt of "
        f"both. Periods are those of {report.period.time_zone}."
    )
    return Table("periods", "Over time", columns, report.by_period, note)


def fates(report: Report) -> Table:
    parts = Fates._fields
    columns = [Column("of", "")]
    for unit, path in (("gpu_hours", "cost.fates_gpu_hours"), ("cpu_hours", "cost.fates_cpu_hours")):
        main = (unit == "gpu_hours") == report.has_gpus
        columns += [number(f"{part}_{unit}", FATES[part], words.figure, f"{path}.{part}", main=main) for part in parts]
    columns += [number(f"{part}_s", FATES[part], format_duration, f"cost.fates_s.{part}", main=False) for part in parts]
    note = "Redone is work between the last checkpoint and an interruption, failed the same before an error."
    title = f"What became of the {report.device}-hours"
    return Table("fates", title, tuple(columns), scoped(report), note, shown=MOST_CHAINS)


def by_stage(report: Report) -> Table:
    groups = grouped((stage.name, stage.cost) for stage in report.stages.values())
    rows = [
        ByName(
            name,
            len(costs),
            sum(cost.attempts for cost in costs),
            sum(cost.allocated_s for cost in costs),
            _sum([cost.cpu_hours for cost in costs if cost.attempts]),
            _sum([cost.gpu_hours for cost in costs if cost.attempts]),
            Fates.sum(cost.fates_s for cost in costs),
        )
        for name, costs in groups.items()
    ]
    columns = (
        Column("stage", "stage", path="name"),
        number("stages", "stages", words.whole),
        number("attempts", "attempts", words.whole),
        hours("gpu_hours", "GPU-hours", main=report.has_gpus),
        hours("cpu_hours", "CPU-hours"),
        number("allocated_s", "time", format_duration),
        number("useful_s", "of it useful", format_duration, "fates_s.useful"),
    )
    return Table(
        "by-stage",
        f"{report.device}-hours by stage",
        columns,
        [row for row in rows if row.attempts],
    )


def by_user(report: Report) -> Table:
    """Return the use of each user if there are several, the largest first."""
    groups = grouped((attempt.user, attempt) for stage in report.stages.values() for attempt in stage.attempts)
    rows = [_of_user(user, attempts) for user, attempts in groups.items()] if len(groups.keys() - {None}) > 1 else []
    used = "gpu_hours" if report.has_gpus else "cpu_hours"
    rows.sort(key=lambda row: (row.user is None, -(getattr(row, used).value or 0.0), row.user or ""))
    columns = (
        Column("user", "user"),
        number("attempts", "attempts", words.whole),
        hours("gpu_hours", "GPU-hours", main=report.has_gpus),
        hours("billed_hours", "billed GPU-hours", "billed_hours", main=report.has_gpus),
        hours("cpu_hours", "CPU-hours"),
        number("allocated_s", "time", format_duration),
        number("useful_s", "of it useful", format_duration, "fates_s.useful"),
    )
    return Table("by-user", f"{report.device}-hours by user", columns, rows)


def _of_user(user: str | None, attempts: Sequence[AttemptRow]) -> ByUser:
    return ByUser(
        user,
        len(attempts),
        Known.sum(None if one.gpus is None else one.gpus * one.allocated_s / HOUR_S for one in attempts),
        Known.sum(one.billed_hours for one in attempts),
        Known.sum(None if one.cpus is None else one.cpus * one.allocated_s / HOUR_S for one in attempts),
        sum(one.allocated_s for one in attempts),
        Fates.sum(one.fates_s for one in attempts),
    )


def waste(report: Report) -> Table:
    unit = "gpu_hours" if report.has_gpus else "cpu_hours"
    parts = [part for part in Fates._fields if part != "useful"]
    columns = [Column("cause", "cause"), number("attempts", "attempts", words.whole)]
    for one in ("gpu_hours", "cpu_hours"):
        label = "GPU-hours lost" if one == "gpu_hours" else "CPU-hours lost"
        columns += [
            number(f"{part}_{one}", FATES[part], words.figure, f"lost_{one}.{part}", main=one == unit) for part in parts
        ]
        columns.append(number(f"lost_{one}", label, words.figure, f"lost_{one}.allocated", main=one == unit))
    return Table("waste", "Lost hours by cause", tuple(columns), report.waste)


def intervals(report: Report) -> Table:
    columns = (
        Column("stage", "training"),
        Column("cluster", "cluster"),
        number("attempts", "attempts", words.whole),
        number("worked_s", "worked", format_duration),
        number("interruptions", "interrupted without warning", words.whole),
        number("warned", "with a warning", words.whole),
        number("start_s", "start-up", format_duration),
        number("save_s", "a checkpoint", words.seconds),
        number("interval_s", "actual interval", words.seconds),
        number("young_s", "best (Young)", words.advised),
        number("daly_s", "best (Daly)", words.advised),
        number("useful_share", "useful at actual", words.in_percent),
        number("best_useful_share", "useful at best", words.in_percent),
    )
    note = (
        "The interval between checkpoints that would have cost least, for the interruptions without warning that were "
        "seen: Young's sqrt(2 C / rate), Daly's to a higher order. Without such an interruption there is none. Few "
        "interruptions make a rough rate."
    )
    return Table("checkpoint-intervals", "How often to save", columns, report.intervals, note)


def purposes(report: Report) -> Table:
    main = "gpu_hours" if report.has_gpus else "cpu_hours"
    whole = sum(getattr(row, main).value or 0.0 for row in report.purposes)
    rows = [
        PurposeShare(row, PURPOSES[row.purpose], value / whole if whole and value is not None else None)
        for row in report.purposes
        for value in (getattr(row, main).value,)
        if row.attempts or row.purpose != "open"
    ]
    columns = (
        Column("purpose", "", path="row.purpose", is_main=False),
        Column("meaning", ""),
        number("attempts", "attempts", words.whole, "row.attempts"),
        number("stages", "stages", words.whole, "row.stages"),
        hours("gpu_hours", "GPU-hours", "row.gpu_hours", main=report.has_gpus),
        hours("cpu_hours", "CPU-hours", "row.cpu_hours"),
        number("share", "share", words.in_percent),
    )
    return Table("purposes", "", columns, rows if report.total.attempts else [])


def burns(report: Report) -> Iterator[Table]:
    for one in report.burns:
        amount = partial(words.amount_of, unit=one.unit)
        columns = (
            number("at_s", "through", words.moment(one.burn.now_s - one.burn.start_s, one.burn.time_zone)),
            number("spent", "used", amount),
            number("pace", "linear pace", amount),
        )
        yield Table(burn_text.name(one), burn_text.title(one), columns, _burn_rows(one), burn_text.note(one))


def _burn_rows(one: BurnDown) -> Sequence[Row]:
    """Return the rows of a burn-down; for a day or two, which have few, some points of the curve."""
    if len(one.burn.rows) > FEW_ROWS or one.burn.pace is not None:
        return one.burn.rows
    every = max(1, len(one.curve) // POINTS)
    return [Row(at_s, spent, None) for at_s, spent in one.curve[every - 1 :: every]]


def waits(report: Report) -> Table:
    columns = (
        Column("cluster", "cluster"),
        Column("kind", "stages"),
        number("starts", "starts", words.whole),
        number("median_s", "median", format_duration),
        number("p90_s", "90th percentile", format_duration),
        number("longest_s", "longest", format_duration),
        number("total_s", "in all", format_duration),
    )
    note = "From the time when a job was submitted and its inputs were ready."
    return Table("queue-waits", "", columns, report.waits, note)


def _sum(parts: list[Known]) -> Known:
    known = [part.value for part in parts if part.value is not None]
    return Known(sum(known) if known else None, sum(part.unknown for part in parts))
