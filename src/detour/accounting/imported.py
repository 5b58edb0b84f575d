"""Energy recorded by other tools, as typed rows. IT energy is the file's figure divided by the PUE that it includes.

A PUE is never applied to these rows. If neither the file nor the caller states the PUE included in `energy_kwh`, it is
unknown whether that is the energy of the facility or only of the hardware.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import fsum
from pathlib import Path

from detour.accounting.energy import PLAUSIBLE_KWH_PER_GPU_HOUR
from detour.accounting.hours import HOUR_S, overlap_s
from detour.sums import complete_sum, known_sum
from detour.text import bare_number
from detour.times import is_duration, is_instant

ADDS_UP_TO = 0.01
"""Share by which parts may differ from their sum, because of rounding."""
MOST = 1e15
"""Upper bound on figures in any unit; no job uses as much."""


@dataclass(frozen=True, slots=True)
class ImportedEnergy:
    """One run or job. Instants are seconds since the epoch; local times are read as UTC. None if not in the file."""

    name: str
    """Run id or job id."""
    line: int
    """Line in the file, from 1."""
    energy_kwh: float | None
    """Energy as stated in the file."""
    cpu_kwh: float | None = None
    """For CEEMS, energy of the host."""
    gpu_kwh: float | None = None
    ram_kwh: float | None = None
    pue: float | None = None
    """PUE included in `energy_kwh`."""
    duration_s: float | None = None
    ended_s: float | None = None
    gpus: float | None = None
    co2_g: dict[str, float] = field(default_factory=dict)
    """Emissions as stated in the file, by provider of the grid factor."""
    account: str | None = None
    user: str | None = None
    version: str | None = None
    place: str | None = None
    counts_machine: bool = False
    """Whether it counted the whole machine, including anything else that ran there."""
    notes: tuple[str, ...] = ()

    @property
    def it_energy_kwh(self) -> float | None:
        return None if self.energy_kwh is None or self.pue is None else self.energy_kwh / self.pue

    @property
    def gpu_hours(self) -> float | None:
        return None if self.gpus is None or self.duration_s is None else self.gpus * self.duration_s / HOUR_S

    @property
    def g_per_kwh(self) -> dict[str, float]:
        """The grid factors behind the file's CO2, which differ even between versions of a tool."""
        return {name: grams / self.energy_kwh for name, grams in self.co2_g.items() if self.energy_kwh}


@dataclass(frozen=True, slots=True)
class EnergyFile:
    path: Path
    tool: str
    rows: tuple[ImportedEnergy, ...]
    notes: tuple[str, ...] = ()
    """Notes on the whole file: lines left out, runs that counted each other's energy."""

    @property
    def energy_kwh(self) -> float | None:
        """The sum, leaving out the rows `without_energy`."""
        return known_sum(row.energy_kwh for row in self.rows)

    @property
    def without_energy(self) -> int:
        return sum(row.energy_kwh is None for row in self.rows)

    @property
    def it_energy_kwh(self) -> float | None:
        return known_sum(row.it_energy_kwh for row in self.rows)

    @property
    def co2_g(self) -> dict[str, float | None]:
        """Sums by provider; None if a row with energy or emissions has none by this provider."""
        rows = [row for row in self.rows if row.energy_kwh is not None or row.co2_g]
        names = dict.fromkeys(name for row in rows for name in row.co2_g)
        return {name: complete_sum(row.co2_g.get(name) for row in rows) for name in names}


def checked(row: ImportedEnergy) -> ImportedEnergy:
    """Add notes on implausible values: energy that no GPU draws, parts that do not add up."""
    return replace(row, notes=(*row.notes, *_doubts(row)))


def amount(text: object) -> float | None:
    """Parse a figure from 0 to `MOST`, also as spreadsheets write it; None for an empty or invalid cell."""
    try:
        value = float(bare_number(str(text).strip()))
    except ValueError:
        return None
    return value if 0 <= value < MOST else None


def duration_of_s(text: object) -> float | None:
    """Parse a duration; None if it is invalid or implausible."""
    seconds = amount(text)
    return seconds if seconds is not None and is_duration(seconds) else None


def instant_of_s(text: object) -> float | None:
    """Parse an ISO time; None if it is invalid or implausible."""
    try:
        instant = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return None
    seconds = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    return seconds if is_instant(seconds) else None


def shared_machine_s(rows: Sequence[ImportedEnergy]) -> float:
    """Return the seconds counted several times, by simultaneous runs that each counted a whole machine."""
    return overlap_s(
        [
            (row.ended_s - row.duration_s, row.ended_s)
            for row in rows
            if row.counts_machine and row.ended_s is not None and row.duration_s
        ]
    )


def _doubts(row: ImportedEnergy) -> Iterator[str]:
    if row.energy_kwh is None:
        yield "no energy"
        return
    parts = [part for part in (row.cpu_kwh, row.gpu_kwh, row.ram_kwh) if part is not None]
    if len(parts) > 1 and abs(fsum(parts) - row.energy_kwh) > ADDS_UP_TO * max(row.energy_kwh, fsum(parts)):
        yield f"its parts add up to {fsum(parts):.4g} kWh, not to {row.energy_kwh:.4g}"
    low, high = PLAUSIBLE_KWH_PER_GPU_HOUR
    energy_kwh = row.energy_kwh if row.it_energy_kwh is None else row.it_energy_kwh
    if row.gpu_hours and not low <= energy_kwh / row.gpu_hours <= high:
        yield f"{energy_kwh / row.gpu_hours:.3g} kWh per GPU-hour is outside {low:g} to {high:g}"
