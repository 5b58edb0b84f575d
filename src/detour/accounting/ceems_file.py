"""Read exports of CEEMS, a site's energy accounting by job: `cacct --csv`, or JSON of its API.

CEEMS gives the energy of host and GPUs separately, and the emissions by each provider of grid factors. Whether the
energy includes the site's PUE depends on its configuration; no column tells.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from detour.accounting.imported import ImportedEnergy, amount, checked, duration_of_s, instant_of_s
from detour.text import counted, plain

TOOL = "CEEMS"
TITLES = {
    "job id": "uuid",
    "jobid": "uuid",
    "account": "project",
    "user": "username",
    "started": "started_at",
    "ended": "ended_at",
    "total time(s)": "total_time_seconds",
    "resource allocation": "allocation",
    "host energy(kwh)": "total_cpu_energy_usage_kwh",
    "gpu energy(kwh)": "total_gpu_energy_usage_kwh",
    "host emissions(gms)": "total_cpu_emissions_gms",
    "gpu emissions(gms)": "total_gpu_emissions_gms",
}
"""Headings of `cacct` -> fields of the API, which are also accepted as headings."""
HOST_KWH, GPU_KWH = "total_cpu_energy_usage_kwh", "total_gpu_energy_usage_kwh"
HOST_G, GPU_G = "total_cpu_emissions_gms", "total_gpu_emissions_gms"
EMPTY = ("", "-", "nan", "none", "null", "n/a")
"""What stands for a missing figure."""
SUMMARY = "summary"
"""Heading of the sums by user at the end of `cacct`'s output."""

Unit = tuple[int, Mapping[str, Any]]
"""A line (or position in a list) and a job's fields; fields by source or provider are mappings."""


def is_ceems(headings: Sequence[str]) -> bool:
    fields = {field_of(heading) for heading in headings}
    return "uuid" in fields and bool(fields & {HOST_KWH, GPU_KWH})


def field_of(heading: str) -> str:
    name = heading.lower()
    return TITLES.get(name, name)


def table_units(rows: Sequence[tuple[int, Sequence[str]]]) -> list[Unit]:
    """Return the jobs of a table with headings. A second row of headings names the sources of repeated columns."""
    fields, body = [field_of(cell) for cell in rows[0][1]], rows[1:]
    keys: Sequence[str] = [""] * len(fields)
    if body and not body[0][1][0]:
        keys, body = body[0][1], body[1:]
    for index in range(1, len(fields)):
        fields[index] = fields[index] or fields[index - 1]
    units: list[Unit] = []
    for line, cells in body:
        if cells[0].lower() == SUMMARY:
            break
        unit: dict[str, Any] = {}
        for field, key, cell in zip(fields, keys, cells, strict=False):
            if key:
                unit.setdefault(field, {})[key] = cell
            elif not unit.get(field):  # a column without a heading may follow the last one
                unit[field] = cell
        units.append((line, unit))
    return units


def json_units(content: object) -> list[Unit] | None:
    """Return the jobs in a response of the API, or in its list of jobs; None for other JSON."""
    listed = content.get("data") if isinstance(content, dict) else content
    if not isinstance(listed, list) or not all(isinstance(unit, dict) and "uuid" in unit for unit in listed):
        return None
    return list(enumerate(listed, start=1))


def ceems_rows(units: Sequence[Unit], pue: float | None = None) -> tuple[list[ImportedEnergy], list[str]]:
    """Return the jobs, each start of each job once, and notes on the file."""
    found = {(str(unit.get("uuid")), str(unit.get("started_at", ""))): (line, unit) for line, unit in units}
    rows = [checked(_row(line, unit, pue)) for line, unit in found.values()]
    notes = [] if pue else ["the file does not say which PUE is in its energy, if any: --pue names it"]
    if repeated := len(units) - len(rows):
        notes.append(f"{counted(repeated, 'row')} of duplicate jobs, of which the last one counts")
    return rows, notes


def _row(line: int, unit: Mapping[str, Any], pue: float | None) -> ImportedEnergy:
    host_kwh, host_note = _energy(unit.get(HOST_KWH))
    gpu_kwh, gpu_note = _energy(unit.get(GPU_KWH))
    known = [kwh for kwh in (host_kwh, gpu_kwh) if kwh is not None]
    times, allocation = _mapping(unit.get("total_time_seconds")), _mapping(unit.get("allocation"))
    duration_s = duration_of_s(times.get("walltime")) or _elapsed_s(str(unit.get("elapsed", "")))
    gpu_s = amount(times.get("alloc_gputime"))
    gpus = gpu_s / duration_s if gpu_s is not None and duration_s else amount(allocation.get("gpus"))
    missing = "the host's energy is missing" if host_kwh is None and known else None
    return ImportedEnergy(
        name=plain(str(unit.get("uuid", ""))) or f"line {line}",
        line=line,
        energy_kwh=sum(known) if known else None,
        cpu_kwh=host_kwh,
        gpu_kwh=gpu_kwh,
        pue=pue,
        duration_s=duration_s,
        ended_s=instant_of_s(unit.get("ended_at")),
        gpus=gpus or None,
        co2_g=_grams(unit),
        account=plain(str(unit.get("project") or "")) or None,
        user=plain(str(unit.get("username") or "")) or None,
        notes=tuple(note for note in (host_note, gpu_note, missing) if note),
    )


def _energy(value: object) -> tuple[float | None, str | None]:
    """Return one figure with a note: of several sources of the same energy the total or the first, never their sum."""
    by_source = {name: figure for name, cell in _by_key(value) if (figure := amount(cell)) is not None}
    if not by_source:
        cells = [plain(str(cell)) for _, cell in _by_key(value) if str(cell).strip().lower() not in EMPTY]
        return None, f"{cells[0]!r} is no energy" if cells else None
    if "total" in by_source or len(by_source) == 1:
        return by_source.get("total", next(iter(by_source.values()))), None
    first, *others = by_source
    return by_source[first], f"{first} is taken, not {', '.join(others)}"


def _grams(unit: Mapping[str, Any]) -> dict[str, float]:
    """Return the emissions by provider, for host and GPUs together."""
    grams: dict[str, float] = {}
    for name, cell in [*_by_key(unit.get(HOST_G)), *_by_key(unit.get(GPU_G))]:
        if (figure := amount(cell)) is not None:
            provider = plain(name.removesuffix("_total")) or TOOL
            grams[provider] = grams.get(provider, 0.0) + figure
    return grams


def _by_key(value: object) -> Iterator[tuple[str, object]]:
    mapping = _mapping(value)
    if mapping:
        yield from ((str(name), cell) for name, cell in mapping.items())
    elif value is not None:
        yield "", value


def _mapping(value: object) -> Mapping[str, Any]:
    """Return the object in a cell, possibly written as JSON; empty for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def _elapsed_s(text: str) -> float | None:
    """Parse `1-02:03:04`, `26:03:04` or `03:04`."""
    days, _, clock = text.strip().rpartition("-")
    parts = clock.split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isdecimal() for part in (*parts, days or "0")):
        return None
    seconds = 0.0
    for part in parts:
        seconds = seconds * 60 + float(part)
    return duration_of_s(seconds + float(days or 0) * 86400)
