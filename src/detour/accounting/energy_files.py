"""Read energy files of other tools, recognised by their columns; other files are refused."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from detour.accounting import ceems_file, codecarbon_file
from detour.accounting.imported import EnergyFile, ImportedEnergy
from detour.canonical import first_repeated, read_once
from detour.errors import UserError
from detour.text import plain

EXPECTED = "expected a CSV of codecarbon, or of CEEMS (`cacct --csv`, or JSON of its API)"
DELIMITERS = ",;\t|"


def read_energy_file(path: Path, pue: float | None = None) -> EnergyFile:
    """Read an energy file; `pue` is the one included in its energy, if the file does not state it. Raises UserError."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if text.lstrip()[:1] in ("{", "["):
        return _file(path, ceems_file.TOOL, *ceems_file.ceems_rows(_units(path, text), pue))
    try:
        table = _table(text)
    except csv.Error as error:
        raise UserError(f"{path}: is not a table ({error}); {EXPECTED}") from error
    if not table:
        raise UserError(f"{path}: is empty; {EXPECTED}")
    headings = table[0][1]
    if set(codecarbon_file.COLUMNS) <= set(headings):
        if (twice := first_repeated(filter(None, headings))) is not None:
            raise UserError(f"{path}:{table[0][0]}: the column {plain(twice)!r} appears twice; keep one of them")
        return _file(path, codecarbon_file.TOOL, *codecarbon_file.codecarbon_rows(_dicts(table), pue))
    if ceems_file.is_ceems(headings):
        return _file(path, ceems_file.TOOL, *ceems_file.ceems_rows(ceems_file.table_units(table), pue))
    line, found = table[0][0], plain(", ".join(headings[:4]))
    raise UserError(f"{path}:{line}: no columns of energy in {found!r}; {EXPECTED}; for sacct's dumps: `detour usage`")


def _file(path: Path, tool: str, rows: Sequence[ImportedEnergy], notes: Sequence[str]) -> EnergyFile:
    if not rows:
        raise UserError(f"{path}: has no row of {tool} with energy; export it again, or use another file")
    return EnergyFile(path, tool, tuple(rows), tuple(notes))


def _units(path: Path, text: str) -> Sequence[ceems_file.Unit]:
    try:
        units = ceems_file.json_units(read_once(text))
    except ValueError as error:
        raise UserError(f"{path}: is not JSON of jobs ({error}); {EXPECTED}") from error
    if units is None:
        raise UserError(f"{path}: has no list of jobs with a uuid; {EXPECTED}")
    return units


def _table(text: str) -> list[tuple[int, list[str]]]:
    """Return lines with their cells, without blank lines; the delimiter is the most frequent one in the first line."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    rows = ((reader.line_num, [cell.strip() for cell in cells]) for cells in reader)
    return [(line, cells) for line, cells in rows if any(cells)]


def _dicts(table: Sequence[tuple[int, Sequence[str]]]) -> list[codecarbon_file.Row]:
    """Return rows by column; in concatenated files, each row of headings applies to the rows after it."""
    headings: Sequence[str] = []
    rows: list[codecarbon_file.Row] = []
    for line, cells in table:
        if "energy_consumed" in cells:
            headings = cells
        else:
            rows.append((line, dict(zip(headings, cells, strict=False))))
    return rows
