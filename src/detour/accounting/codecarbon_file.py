"""Read CSV files of codecarbon (2.x and 3.x, and 1.x if it has columns of energy).

Each `flush()` adds a row with the run's cumulative sums, so only the last row of a run counts; adding them up would
give several times the true value. Files by task hold each task once. Emissions are in kg. Energy includes the PUE
(column `pue`; none before 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detour.accounting.imported import ImportedEnergy, amount, checked, duration_of_s, instant_of_s, shared_machine_s
from detour.text import counted, format_duration, plain

TOOL = "codecarbon"
COLUMNS = ("duration", "emissions", "energy_consumed")
"""Columns that identify a file of codecarbon."""
CLOCKS_DIFFER_S = 60.0
"""Seconds by which the clocks of two nodes may differ."""

Row = tuple[int, Mapping[str, str]]
"""A line number and its cells by column."""


def codecarbon_rows(rows: Sequence[Row], pue: float | None = None) -> tuple[list[ImportedEnergy], list[str]]:
    """Return the runs and notes on the file; `pue` overrides the file's own column."""
    by_run: dict[str, list[ImportedEnergy]] = {}
    unusable: list[int] = []
    for line, cells in rows:
        row = _row(line, cells, pue)
        if row is None:
            unusable.append(line)
        else:
            by_run.setdefault(_key(line, cells), []).append(row)
    runs = [checked(run) for found in by_run.values() for run in _runs(found)]
    notes = []
    if unusable:
        notes.append(f"left out, without duration or energy: line {', '.join(map(str, unusable[:5]))}")
    if flushed := sum(map(len, by_run.values())) - len(runs):
        notes.append(f"{counted(flushed, 'row')} of earlier flushes, whose energy is in a later row of the same run")
    if (twice_s := shared_machine_s(runs)) > 1:
        notes.append(
            f"several runs counted a whole machine at the same time, for {format_duration(twice_s)}: if it was one "
            "machine, its energy is in the sum more than once"
        )
    return runs, notes


def _runs(rows: Sequence[ImportedEnergy]) -> list[ImportedEnergy]:
    """Return the last row of each tracker.

    If the duration decreases, another one started under the same id, unless it would have begun before the other ended:
    then clocks were put back, as times are local and without an offset.
    """
    runs: list[ImportedEnergy] = []
    for row in sorted(rows, key=lambda row: (row.ended_s or 0.0, row.duration_s or 0.0, row.energy_kwh or 0.0)):
        is_shorter = bool(runs) and (row.duration_s or 0.0) < (runs[-1].duration_s or 0.0)
        if not runs or (is_shorter and _began_after(row, runs[-1])):
            runs.append(row)
        elif not is_shorter:
            runs[-1] = row
    return runs


def _began_after(row: ImportedEnergy, other: ImportedEnergy) -> bool:
    began_s = (row.ended_s or 0.0) - (row.duration_s or 0.0)
    return began_s > (other.ended_s or 0.0) - CLOCKS_DIFFER_S


def _key(line: int, cells: Mapping[str, str]) -> str:
    """Return the key of a row's run; in files by task or without ids, each row is separate."""
    run = cells.get("run_id") or cells.get("experiment_id")
    return run if run and "task_name" not in cells else f"line {line}"


def _row(line: int, cells: Mapping[str, str], pue: float | None) -> ImportedEnergy | None:
    duration_s, energy_kwh = duration_of_s(cells.get("duration")), amount(cells.get("energy_consumed"))
    if duration_s is None or energy_kwh is None:
        return None
    emissions_kg, written = amount(cells.get("emissions")), amount(cells.get("pue"))
    in_it = pue or (written if written and written >= 1 else 1.0)
    notes = [f"PUE {in_it:g} was in its energy and is divided out"] if in_it != 1 else []
    return ImportedEnergy(
        name=plain(cells.get("task_name") or cells.get("run_id") or cells.get("project_name") or f"line {line}"),
        line=line,
        energy_kwh=energy_kwh,
        cpu_kwh=amount(cells.get("cpu_energy")),
        gpu_kwh=amount(cells.get("gpu_energy")),
        ram_kwh=amount(cells.get("ram_energy")),
        pue=in_it,
        duration_s=duration_s,
        ended_s=instant_of_s(cells.get("timestamp", "")),
        gpus=amount(cells.get("gpu_count")) or None,
        co2_g={} if emissions_kg is None else {TOOL: emissions_kg * 1000},
        version=plain(cells.get("codecarbon_version", "")) or None,
        place=plain(cells.get("country_iso_code", "")) or None,
        counts_machine=cells.get("tracking_mode", "machine") == "machine",
        notes=tuple(notes),
    )
