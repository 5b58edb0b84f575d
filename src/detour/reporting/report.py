"""A report: everything that its page, its tables and its statements are made of, and `--json` is it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from detour.accounting.energy import EnergyFigure
from detour.budgets.burn import Burn
from detour.budgets.caps import Measure
from detour.pricing.comparison import Accuracy
from detour.reporting.asides import Aside
from detour.reporting.calendar import PeriodCost
from detour.reporting.data import Chain, Cost, Stage, TaskScores, Versions, is_cut
from detour.reporting.grid import Grid
from detour.reporting.period import Period
from detour.reporting.purpose import PurposeRow
from detour.reporting.quality import QualityRow
from detour.reporting.reconciliation import Reconciliation
from detour.reporting.waits import WaitRow
from detour.reporting.waste import Interval, Waste
from detour.reporting.yields import PointCost, TokenYield

SCHEMA = 2
LEGIBLE = 1000
"""Stages up to which JSON is indented."""


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A mass of CO2 in other words, as the project's file has it."""

    name: str
    amount: float
    source: str


@dataclass(frozen=True, slots=True)
class Owner:
    """Who the report is by, as the project's file says."""

    project: str
    grant: str | None
    institution: str | None
    people: list[str]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the attempts of one cluster ran on, by its profile and by what they held."""

    cluster: str
    gpu: str | None
    gpu_memory_gb: float | None
    most_gpus: float
    most_cpus: int
    country: str | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class BurnDown:
    """Consumption of one measure, against the linear pace of a budget where there is one."""

    budget: str | None
    measure: Measure
    unit: str
    burn: Burn
    curve: list[tuple[float, float]]
    """(instant, used by then), finer than the rows of `burn`; the last is now."""


@dataclass(frozen=True, slots=True)
class Report:
    title: str
    sweep: str | None
    """Whose chains these are, if they are a sweep's."""
    workspace: str
    generated_s: float
    version: str
    period: Period
    owner: Owner | None
    chains: list[Chain]
    stages: dict[str, Stage]
    total: Cost
    """Every stage of every chain, once."""
    hardware: list[Hardware]
    burns: list[BurnDown]
    by_period: list[PeriodCost]
    waste: list[Waste]
    intervals: list[Interval]
    token_yields: list[TokenYield]
    point_costs: list[PointCost]
    grid: Grid | None
    waits: list[WaitRow]
    accuracy: list[Accuracy]
    """Prices against what finished stages took."""
    purposes: list[PurposeRow]
    released: list[str]
    """Chains whose model counts as released."""
    reconciliation: Reconciliation | None
    quality: list[QualityRow]
    asides: list[Aside]
    equivalents: list[Equivalent]
    versions: Versions
    warnings: list[str] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def shared(self) -> list[Stage]:
        return [stage for stage in self.stages.values() if len(stage.chains) > 1]

    @property
    def cut(self) -> list[str]:
        """Chains on which some work lies outside of the period: what is said of a model must not be of a part of it."""
        return [chain.name for chain in self.chains if is_cut(chain, self.stages)]

    @property
    def has_gpus(self) -> bool:
        """Whether its hours are GPU-hours; without any GPU they are CPU-hours."""
        return self.total.gpu_hours.value != 0

    @property
    def span_s(self) -> tuple[float, float] | None:
        """From the first start to the last end of what is counted, within the period; None where nothing ran."""
        attempts = [attempt for stage in self.stages.values() for attempt in stage.attempts]
        if not attempts:
            return None
        first_s, last_s = self.period.since_s, self.period.until_s
        return (
            min(one.started_s for one in attempts) if first_s is None else first_s,
            max(one.started_s + one.elapsed_s for one in attempts) if last_s is None else last_s - 1,
        )

    def to_json_bytes(self, **more: Any) -> bytes:
        """Keys in the order of the classes, indented where a person may read it; `more` is added at the end."""
        content = {name: getattr(self, name) for name in self.__slots__}
        option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if len(self.stages) < LEGIBLE else 0)
        return orjson.dumps({**content, **more}, default=_fields, option=option)


def _fields(named_tuple: Any) -> dict[str, Any]:
    """orjson knows dataclasses, and no named tuples."""
    if type(named_tuple) is EnergyFigure:
        return energy_json(named_tuple)
    fields: dict[str, Any] = named_tuple._asdict()
    if type(named_tuple) is TaskScores:
        del fields["attempts"]
        fields |= {"spent": named_tuple.spent, "spent_in_all": named_tuple.spent_in_all}
    return fields


def energy_json(figure: EnergyFigure) -> dict[str, Any]:
    """With all that is needed to judge it or to compute it again."""
    return {
        "method": figure.method,
        "site": figure.site.name,
        "it_energy_kwh": figure.it_energy_kwh,
        "facility_energy_kwh": figure.facility_energy_kwh,
        "co2_g": figure.co2_g,
        "coverage": figure.coverage,
        "extended_s": figure.extended_s,
        "uncounted_s": figure.uncounted_s,
        "scope": figure.scope,
        "detail": figure.detail,
        "tool": figure.tool,
        "version": figure.version,
        "pue": figure.site.pue,
        "grid_g_per_kwh": figure.site.grid_g_per_kwh,
        "missing": figure.missing,
        "note": figure.warning,
    }
