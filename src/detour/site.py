"""The constants of a site that convert hours to energy and energy to CO2, each with its source.

Every chain's plan.json holds those of its cluster. Values that cannot be read there are None, like unknown ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import fsum
from typing import Any, NamedTuple

SOURCES_NAMED = 3


@dataclass(frozen=True, slots=True)
class Sourced:
    """A constant of a site and its source."""

    value: float
    source: str
    year: int | None = None
    kind: str | None = None
    """For a grid factor: `direct` (emissions of power plants) or `lifecycle` (with their fuel and construction)."""
    zone: str | None = None
    """For a grid factor: the grid, such as `FR`."""
    is_mean: bool = False
    """Whether it is a mean of several values, weighted by energy."""

    def __str__(self) -> str:
        return f"{self.value:.6g} ({self.origin})"

    @property
    def origin(self) -> str:
        notes = ("weighted mean" if self.is_mean else "", self.source, str(self.year or ""), self.kind, self.zone)
        return ", ".join(filter(None, notes))

    def to_json(self) -> dict[str, Any]:
        beside = {"kind": self.kind, "zone": self.zone, "is_mean": self.is_mean}
        given = {name: value for name, value in beside.items() if value}
        return {"value": self.value, "source": self.source, "year": self.year, **given}

    @classmethod
    def from_json(cls, data: object) -> Sourced | None:
        if not isinstance(data, dict) or type(data.get("value")) not in (int, float):
            return None
        year, kind, zone = data.get("year"), data.get("kind"), data.get("zone")
        return cls(
            float(data["value"]),
            str(data.get("source", "")),
            year if isinstance(year, int) else None,
            kind if isinstance(kind, str) else None,
            zone if isinstance(zone, str) else None,
            data.get("is_mean") is True,
        )

    @staticmethod
    def mean(weighed: Iterable[tuple[Sourced | None, float]]) -> Sourced | None:
        """Return the weighted mean; None if any with a positive weight is unknown. A single constant is unchanged."""
        parts = [(constant, weight) for constant, weight in weighed if weight > 0]
        known = [(constant, weight) for constant, weight in parts if constant is not None]
        distinct = list(dict.fromkeys(constant for constant, _ in known))
        if len(known) < len(parts) or not distinct:
            return None
        if len(distinct) == 1:
            return distinct[0]
        sources = list(dict.fromkeys(constant.source for constant in distinct))
        more = ["..."] if len(sources) > SOURCES_NAMED else []
        years, kinds, zones = ({getattr(one, name) for one in distinct} for name in ("year", "kind", "zone"))
        return Sourced(
            fsum(constant.value * weight for constant, weight in known) / fsum(weight for _, weight in known),
            "; ".join([*sources[:SOURCES_NAMED], *more]),
            years.pop() if len(years) == 1 else None,
            kinds.pop() if len(kinds) == 1 else None,
            zones.pop() if len(zones) == 1 else None,
            is_mean=True,
        )


class Month(NamedTuple):
    """Constants that differ in one month, `2026-01` (UTC), from the site's; None if they do not."""

    month: str
    pue: Sourced | None = None
    grid_g_per_kwh: Sourced | None = None


class Hourly(NamedTuple):
    """A file of hourly grid factors; see `detour.accounting.hourly`."""

    path: str
    source: str
    kind: str | None = None
    zone: str | None = None

    def factor(self, g_per_kwh: float) -> Sourced:
        return Sourced(g_per_kwh, self.source, None, self.kind, self.zone)


class Node(NamedTuple):
    """A GPU node of the cluster, to determine whether an allocation holds whole nodes."""

    gpus: int
    cores: int | None = None
    always_whole: bool = False
    """Whether the site allocates only whole nodes."""

    def is_exclusive(self, nodes: int, gpus: float | None, cpus: int | None) -> bool | None:
        """Whether an allocation holds its nodes completely; None if that cannot be determined."""
        if self.always_whole:
            return True
        if gpus is None or cpus is None or self.cores is None or gpus == 0:
            return None
        return gpus >= nodes * self.gpus and cpus >= nodes * self.cores


class Site(NamedTuple):
    """The constants that convert hours to energy and energy to CO2 at one site; None if unknown."""

    name: str
    pue: Sourced | None = None
    """Facility energy divided by IT energy."""
    grid_g_per_kwh: Sourced | None = None
    """gCO2eq per kWh of electricity."""
    gpu_board_w: Sourced | None = None
    """Power limit of one GPU's board, in watts."""
    core_w: Sourced | None = None
    """Power of one busy CPU core, in watts."""
    ram_w_per_gb: Sourced | None = None
    """Power of memory in watts per GB; 0.3725 in Green Algorithms (Advanced Science, 2021)."""
    embodied_g_per_gpu_hour: Sourced | None = None
    """gCO2eq of manufacture and transport of the hardware, per GPU-hour of its lifetime; never in an energy figure."""
    idle_kwh_per_kwh: Sourced | None = None
    """Energy of the machine's idle nodes and shared equipment, per kWh of its jobs; never part of an energy figure."""
    months: tuple[Month, ...] = ()
    hourly: Hourly | None = None
    node: Node | None = None

    def to_json(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in CONSTANTS}
        constants = {name: constant and constant.to_json() for name, constant in named.items()}
        given = {name: value for name, value in constants.items() if value or name not in ADDED}
        months = [
            {"month": month, "pue": pue and pue.to_json(), "grid_g_per_kwh": grid and grid.to_json()}
            for month, pue, grid in self.months
        ]
        beside = {
            "months": months,
            "hourly": self.hourly and self.hourly._asdict(),
            "node": self.node and self.node._asdict(),
        }
        return {"name": self.name, **given, **{name: value for name, value in beside.items() if value}}

    @classmethod
    def from_json(cls, data: object) -> Site | None:
        """Read a site; None if the data is not a site or has no name."""
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            return None
        constants = {name: Sourced.from_json(data.get(name)) for name in CONSTANTS}
        return cls(
            data["name"],
            **constants,
            months=_months(data.get("months")),
            hourly=_hourly(data.get("hourly")),
            node=_node(data.get("node")),
        )


CONSTANTS = (
    "pue",
    "grid_g_per_kwh",
    "gpu_board_w",
    "core_w",
    "ram_w_per_gb",
    "embodied_g_per_gpu_hour",
    "idle_kwh_per_kwh",
)
ADDED = ("embodied_g_per_gpu_hour", "idle_kwh_per_kwh")
"""Constants that were added later: they are written only if known, so that earlier plans do not change."""


@cache
def unknown_site(name: str | None) -> Site:
    """A place about which nothing is known; `name` is that of its cluster profile, None if not recorded."""
    return Site(name or "an unknown cluster")


def blended(weighed: Iterable[tuple[Site, float]]) -> Site:
    """Combine several sets of a site's constants into one, weighted by the IT energy (kWh) drawn under each.

    PUE is weighted by IT energy and the grid factor by facility energy, so that IT energy x PUE x factor of the total
    is the sum over the parts. Raises ValueError for sites of different names, or none.
    """
    parts = list(weighed)
    sites = list(dict.fromkeys(site for site, _ in parts))
    if not sites or any(site.name != sites[0].name for site in sites):
        raise ValueError("constants of different sites must not be averaged")
    if len(sites) == 1:
        return sites[0]
    if not any(weight > 0 for _, weight in parts):
        parts = [(site, 1.0) for site in sites]
    return sites[0]._replace(
        pue=Sourced.mean((site.pue, weight) for site, weight in parts),
        grid_g_per_kwh=Sourced.mean(
            (site.grid_g_per_kwh, weight * (site.pue.value if site.pue else 1.0)) for site, weight in parts
        ),
    )


def _months(data: object) -> tuple[Month, ...]:
    listed = data if isinstance(data, list) else []
    return tuple(
        Month(one["month"], Sourced.from_json(one.get("pue")), Sourced.from_json(one.get("grid_g_per_kwh")))
        for one in listed
        if isinstance(one, dict) and isinstance(one.get("month"), str)
    )


def _hourly(data: object) -> Hourly | None:
    if not isinstance(data, dict) or not isinstance(data.get("path"), str):
        return None
    notes = (value if isinstance(value := data.get(name), str) else None for name in ("kind", "zone"))
    return Hourly(data["path"], str(data.get("source", "")), *notes)


def _node(data: object) -> Node | None:
    if not isinstance(data, dict) or type(data.get("gpus")) is not int:
        return None
    cores = data.get("cores")
    return Node(data["gpus"], cores if type(cores) is int else None, data.get("always_whole") is True)
