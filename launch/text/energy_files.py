"""Energy files of other tools, in at most 80 columns, next to what is known here about the same jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from detour.accounting.account import ChainEnergy, SiteEnergy, jobs_in
from detour.accounting.imported import EnergyFile, ImportedEnergy
from detour.launch.text.energy import site_json
from detour.launch.text.screen import NARROWEST
from detour.text import ENERGY_UNITS, MASS_UNITS, amount, counted, cut, format_duration, plain, scaled, wrapped

ROWS_SHOWN = 20


def file_lines(file: EnergyFile, chains: Sequence[ChainEnergy] = ()) -> Iterator[str]:
    """One row per run or job, then the sum: the file's own energy, with whatever PUE the file applied."""
    yield f"{plain(str(file.path))}: {file.tool}, {counted(len(file.rows), 'run or job', 'runs or jobs')}"
    yield f"  {'run or job':<18}{'time':>9}{'GPU-h':>9}{'energy':>11}{'PUE in it':>11}  CO2eq"
    for row in file.rows[:ROWS_SHOWN]:
        pue = "unknown" if row.pue is None else f"{row.pue:g}"
        hours = "" if row.gpu_hours is None else amount(row.gpu_hours)
        energy = scaled(row.energy_kwh, ENERGY_UNITS)
        name, taken = cut(row.name, 17), format_duration(row.duration_s)
        yield f"  {name:<18}{taken:>9}{hours:>9}{energy:>11}{pue:>11}  {_grams(row.co2_g)}".rstrip()
        for note in row.notes:
            yield from wrapped(note, " " * 4, NARROWEST)
    if len(file.rows) > ROWS_SHOWN:
        yield f"  ... and {len(file.rows) - ROWS_SHOWN:,} more; --json has them all"
    it = file.it_energy_kwh
    split = f", {scaled(it, ENERGY_UNITS)} without its PUE" if it is not None and it != file.energy_kwh else ""
    if file.energy_kwh is not None and file.without_energy:
        split += f", without {counted(file.without_energy, 'run or job', 'runs or jobs')} of unknown energy"
    yield from wrapped(
        f"sum: {scaled(file.energy_kwh, ENERGY_UNITS)}{split}; CO2eq {_grams(file.co2_g)}", width=NARROWEST
    )
    if factors := _factors(file.rows):
        yield from wrapped(f"grid factors in it, gCO2eq/kWh: {factors}", width=NARROWEST)
    for chain in chains:
        if (both := jobs_in(file, chain)) is not None:
            ours = list(map(_ours, both.sites))
            if len(ours) > 1:  # a file has job ids only, which several clusters may use
                ours = [f"{one} on {plain(site.site)}" for one, site in zip(ours, both.sites, strict=True)]
            theirs = f"{scaled(both.energy_kwh, ENERGY_UNITS)} in the file"
            text = f"{counted(both.jobs, 'job')} of {plain(chain.chain)}: {theirs}; here {', '.join(ours)}"
            yield from wrapped(text, width=NARROWEST)
    for note in file.notes:
        yield from wrapped(f"note: {note}", width=NARROWEST)


def _ours(site: SiteEnergy) -> str:
    energy = site.quoted and site.quoted.it_energy_kwh
    method = site.quoted.method.value if site.quoted else "no method"
    return f"{scaled(energy.expected if energy else None, ENERGY_UNITS)} of IT by {method}"


def _grams(co2_g: Mapping[str, float | None]) -> str:
    if not co2_g:
        return "unknown"
    named = len(co2_g) > 1
    return ", ".join(scaled(grams, MASS_UNITS) + (f" {name}" if named else "") for name, grams in co2_g.items())


def _factors(rows: Sequence[ImportedEnergy]) -> str:
    found = dict.fromkeys(f"{name} {factor:.4g}" for row in rows for name, factor in row.g_per_kwh.items())
    listed = list(found)
    return ", ".join(listed[:6]) + (", ..." if len(listed) > 6 else "")


def file_json(file: EnergyFile, chains: Sequence[ChainEnergy] = ()) -> dict[str, Any]:
    shared = {chain.chain: both for chain in chains if (both := jobs_in(file, chain)) is not None}
    return {
        "file": str(file.path),
        "tool": file.tool,
        "energy_kwh": file.energy_kwh,
        "without_energy": file.without_energy,
        "it_energy_kwh": file.it_energy_kwh,
        "co2_g": file.co2_g,
        "notes": list(file.notes),
        "chains": {
            name: {"jobs": both.jobs, "energy_kwh": both.energy_kwh, "sites": list(map(site_json, both.sites))}
            for name, both in shared.items()
        },
        "rows": [
            {
                **asdict(row),
                "it_energy_kwh": row.it_energy_kwh,
                "gpu_hours": row.gpu_hours,
                "grid_g_per_kwh": row.g_per_kwh,
            }
            for row in file.rows
        ],
    }
