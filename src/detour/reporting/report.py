"""The report as data: everything behind its page, tables and statements, and the content of `--json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from detour.accounting.energy import EnergyFigure, Method, quotable_method
from detour.budgets.burn import Burn
from detour.budgets.caps import Measure
from detour.pricing.comparison import Accuracy
from detour.reporting.calendar import PeriodCost
from detour.reporting.data import Chain, Cost, Stage, TaskScores, Versions, is_cut
from detour.reporting.efficiency import PointCost, TokenYield
from detour.reporting.grid import Grid
from detour.reporting.overheads import Aside
from detour.reporting.period import Period
from detour.reporting.purpose import PurposeRow
from detour.reporting.quality import QualityRow
from detour.reporting.reconciliation import Reconciliation
from detour.reporting.waits import WaitRow
from detour.reporting.waste import Interval, Waste

SCHEMA = 2
LEGIBLE = 1000
"""Number of stages from which JSON is not indented."""


@dataclass(frozen=True, slots=True)
class Equivalent:
    """An equivalent of the CO2, by the project's file."""

    name: str
    amount: float
    source: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of the report, from the project's file."""

    project: str
    grant: str | None
    institution: str | None
    people: list[str]


@dataclass(frozen=True, slots=True)
class Hardware:
    """The hardware of one cluster's attempts, from its profile and their allocations."""

    cluster: str
    gpu: str | None
    gpu_memory_gb: float | None
    most_gpus: float | None
    """The largest number of GPUs of an attempt. None if it is known for no attempt."""
    most_cpus: int | None
    country: str | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class BurnDown:
    """Consumption of one measure, against the linear pace of a budget if there is one."""

    budget: str | None
    measure: Measure | Literal["cpu_hours"]
    unit: str
    burn: Burn
    curve: list[tuple[float, float]]
    """(instant, used by then), finer than the rows of `burn`; the last point is now."""


@dataclass(frozen=True, slots=True)
class Report:
    title: str
    sweep: str | None
    """The sweep that all chains belong to, if any."""
    workspace: str
    generated_s: float
    version: str
    period: Period
    owner: Owner | None
    chains: list[Chain]
    stages: dict[str, Stage]
    total: Cost
    """Cost of all stages of all chains, each once."""
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
    """Prices compared with the cost of finished stages."""
    purposes: list[PurposeRow]
    released: list[str]
    """Names of the chains whose model counts as released."""
    reconciliation: Reconciliation | None
    quality: list[QualityRow]
    asides: list[Aside]
    equivalents: list[Equivalent]
    versions: Versions
    warnings: list[str] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def method(self) -> Method | None:
        """Method by which its chains are compared."""
        return quotable_method(chain.cost.energy for chain in self.chains)

    @property
    def shared(self) -> list[Stage]:
        return [stage for stage in self.stages.values() if len(stage.chains) > 1]

    @property
    def cut(self) -> list[str]:
        """Chains with work outside the period; statements about a model must not be about a part of it."""
        return [chain.name for chain in self.chains if is_cut(chain, self.stages)]

    @property
    def has_gpus(self) -> bool:
        """Whether its hours are GPU-hours; without GPUs they are CPU-hours."""
        return self.total.has_gpus

    @property
    def device(self) -> str:
        return self.total.device

    @property
    def span_s(self) -> tuple[float, float] | None:
        """First start and last end of what is counted, or the period's bounds; None if nothing ran."""
        attempts = [attempt for stage in self.stages.values() for attempt in stage.attempts]
        if not attempts:
            return None
        first_s, last_s = self.period.since_s, self.period.until_s
        return (
            min(one.started_s for one in attempts) if first_s is None else first_s,
            max(one.ended_s for one in attempts) if last_s is None else last_s - 1,
        )

    def to_json_bytes(self, **more: Any) -> bytes:
        """Return the report as JSON, with keys in the order of the classes, indented if small; `more` is appended."""
        content = {name: getattr(self, name) for name in self.__slots__}
        option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if len(self.stages) < LEGIBLE else 0)
        return orjson.dumps({**content, **more}, default=_fields, option=option)


def _fields(named_tuple: Any) -> dict[str, Any]:
    """Convert a named tuple for orjson, which supports only dataclasses."""
    if type(named_tuple) is EnergyFigure:
        return energy_json(named_tuple)
    fields: dict[str, Any] = named_tuple._asdict()
    if type(named_tuple) is TaskScores:
        del fields["attempts"]
        fields |= {"spent": named_tuple.spent, "spent_in_all": named_tuple.spent_in_all}
    return fields


def energy_json(figure: EnergyFigure) -> dict[str, Any]:
    """Return a figure with everything needed to judge or recompute it."""
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
