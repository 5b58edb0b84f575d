"""The constants of a place that turn hours into energy and energy into CO2, each with its source.

Every chain's plan.json holds those of its cluster. What cannot be read there is None, as unknown as what no one has
said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Sourced:
    """A constant of a site and where it was read."""

    value: float
    source: str
    year: int | None = None

    def __str__(self) -> str:
        return f"{self.value:g} ({self.source}{f', {self.year}' if self.year else ''})"

    def to_json(self) -> dict[str, Any]:
        return {"value": self.value, "source": self.source, "year": self.year}

    @classmethod
    def from_json(cls, data: object) -> Sourced | None:
        if not isinstance(data, dict) or type(data.get("value")) not in (int, float):
            return None
        year = data.get("year")
        return cls(float(data["value"]), str(data.get("source", "")), year if isinstance(year, int) else None)


class Site(NamedTuple):
    """What turns hours into energy and energy into CO2 at one place; None where it is not known."""

    name: str
    pue: Sourced | None = None
    """Facility energy over IT energy."""
    grid_g_per_kwh: Sourced | None = None
    """gCO2eq per kWh of electricity."""
    gpu_board_w: Sourced | None = None
    """Power limit of one GPU's board, in watts."""
    core_w: Sourced | None = None
    """Power of one busy CPU core, in watts."""
    ram_w_per_gb: Sourced | None = None
    """Power of memory in watts a GB; Green Algorithms (Advanced Science, 2021) has 0.3725."""

    def to_json(self) -> dict[str, Any]:
        name, *figures = self
        written = (figure and figure.to_json() for figure in figures)
        return {"name": name, **dict(zip(self._fields[1:], written, strict=True))}

    @classmethod
    def from_json(cls, data: object) -> Site | None:
        """None for what is no site, or has no name."""
        if not isinstance(data, dict) or not isinstance(data.get("name"), str):
            return None
        return cls(data["name"], *(Sourced.from_json(data.get(name)) for name in cls._fields[1:]))
