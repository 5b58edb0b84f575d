"""Energy that other tools recorded, as typed rows: what the file says, with a PUE that is in it divided out once.

A PUE is never applied to these rows: `facility_kwh` is the file's own energy if the file, or the caller, says which
PUE is in it, and otherwise it is unknown whether the energy is that of the facility or of the hardware alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import fsum
from pathlib import Path

from detour.accounting.energy import PLAUSIBLE_KWH_PER_GPU_HOUR
from detour.times import is_duration, is_instant

ADDS_UP_TO = 0.01
"""Parts may differ from their sum by this share, for they were rounded."""
MOST = 1e15
"""Of any unit: no job uses as much."""


@dataclass(frozen=True, slots=True)
class ImportedEnergy:
    """One run or job. Instants are epoch seconds; the file's local times are read as UTC. None: the file is silent."""

    name: str
    """Its run id or job id."""
    line: int
    """Of the file, from 1."""
    energy_kwh: float | None
    """As the file has it."""
    cpu_kwh: float | None = None
    """With the host, for CEEMS."""
    gpu_kwh: float | None = None
    ram_kwh: float | None = None
    pue: float | None = None
    """That is in `energy_kwh`."""
    duration_s: float | None = None
    ended_s: float | None = None
    gpus: float | None = None
    co2_g: dict[str, float] = field(default_factory=dict)
    """As the file has it, by who gave the grid factor."""
    account: str | None = None
    user: str | None = None
    version: str | None = None
    place: str | None = None
    counts_machine: bool = False
    """It counted the whole machine that it ran on, whatever else ran there."""
    notes: tuple[str, ...] = ()

    @property
    def it_energy_kwh(self) -> float | None:
        return None if self.energy_kwh is None or self.pue is None else self.energy_kwh / self.pue

    @property
    def gpu_hours(self) -> float | None:
        return None if self.gpus is None or self.duration_s is None else self.gpus * self.duration_s / 3600

    @property
    def g_per_kwh(self) -> dict[str, float]:
        """The grid factors behind the file's CO2: they differ between versions of one tool, so keep the energy."""
        return {name: grams / self.energy_kwh for name, grams in self.co2_g.items() if self.energy_kwh}


@dataclass(frozen=True, slots=True)
class EnergyFile:
    path: Path
    tool: str
    rows: tuple[ImportedEnergy, ...]
    notes: tuple[str, ...] = ()
    """Of the whole file: lines that were left out, runs that counted each other's energy."""

    @property
    def energy_kwh(self) -> float | None:
        return _sum(row.energy_kwh for row in self.rows)

    @property
    def it_energy_kwh(self) -> float | None:
        return _sum(row.it_energy_kwh for row in self.rows)

    @property
    def co2_g(self) -> dict[str, float]:
        names = dict.fromkeys(name for row in self.rows for name in row.co2_g)
        return {name: fsum(row.co2_g.get(name, 0.0) for row in self.rows) for name in names}


def checked(row: ImportedEnergy) -> ImportedEnergy:
    """With notes on what cannot be: energy that no GPU draws, parts that do not add up."""
    return replace(row, notes=(*row.notes, *_doubts(row)))


def amount(text: object) -> float | None:
    """A figure from 0 to `MOST` out of a cell; None for an empty or unusable one."""
    try:
        value = float(str(text).strip())
    except ValueError:
        return None
    return value if 0 <= value < MOST else None


def duration_of_s(text: object) -> float | None:
    """None for what nothing can have lasted."""
    seconds = amount(text)
    return seconds if seconds is not None and is_duration(seconds) else None


def instant_of_s(text: object) -> float | None:
    """Of an ISO form; None for another form, and for a time that no clock can have shown."""
    try:
        instant = datetime.fromisoformat(str(text).strip())
    except ValueError:
        return None
    seconds = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()
    return seconds if is_instant(seconds) else None


def shared_machine_s(rows: Sequence[ImportedEnergy]) -> float:
    """Seconds that were counted by more than one run at a time, each of which counted a whole machine."""
    spans = sorted(
        (row.ended_s - row.duration_s, row.ended_s)
        for row in rows
        if row.counts_machine and row.ended_s is not None and row.duration_s
    )
    reached, twice_s = float("-inf"), 0.0
    for start_s, end_s in spans:
        twice_s += max(0.0, min(reached, end_s) - start_s)
        reached = max(reached, end_s)
    return twice_s


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
        yield f"{energy_kwh / row.gpu_hours:.3g} kWh a GPU-hour is outside {low:g} to {high:g}"


def _sum(values: Iterable[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return fsum(known) if known else None
