"""Read hourly grid factors from CSV with the columns `hour` and `g_per_kwh`; other columns are ignored.

`hour` is when the row takes effect, in ISO 8601; without an offset it is UTC. A row applies until the next one, for at
most an hour. Rows may be in any order; lines that begin with `#` are comments. Forecasts have the same format.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from io import StringIO
from math import isfinite
from pathlib import Path

from detour.accounting.hours import HOUR_S
from detour.errors import UserError
from detour.files import read_at_most

LARGEST_BYTES = 64 * 2**20
"""Maximum file size; a year takes 300 kB."""
COLUMNS = ("hour", "g_per_kwh")
MOST_G_PER_KWH = 2000.0
"""Upper bound on grid factors; a higher value means another unit."""
FILES_KEPT = 16


@dataclass(frozen=True, slots=True)
class HourlyFactors:
    starts_s: tuple[float, ...]
    """When each factor takes effect, in seconds since the epoch, ascending."""
    g_per_kwh: tuple[float, ...]

    @property
    def end_s(self) -> float:
        return self.starts_s[-1] + HOUR_S

    def between(self, start_s: float, end_s: float) -> Iterator[tuple[float, float | None]]:
        """Yield spans in seconds with their factor, None if the file has none."""
        at_s = start_s
        while at_s < end_s:
            index = bisect_right(self.starts_s, at_s) - 1
            ends_s = self.starts_s[index] + HOUR_S if index >= 0 else float("-inf")
            next_s = self.starts_s[index + 1] if index + 1 < len(self.starts_s) else float("inf")
            is_known = at_s < ends_s
            until_s = min(end_s, next_s, ends_s if is_known else end_s)
            yield until_s - at_s, self.g_per_kwh[index] if is_known else None
            at_s = until_s

    def mean(self, start_s: float, end_s: float) -> float | None:
        """Return the mean over time; None if the file does not cover all of it."""
        spans = list(self.between(start_s, end_s))
        if not spans or any(factor is None for _, factor in spans):
            return None
        return sum(seconds * (factor or 0.0) for seconds, factor in spans) / (end_s - start_s)


def read_hourly(path: Path) -> HourlyFactors:
    """Read a file of hourly factors. Raises UserError, which names file, line and column."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _read(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))


@lru_cache(FILES_KEPT)
def _read(path: Path, _stamp: tuple[int, ...]) -> HourlyFactors:
    """Called for every attempt; read again once the file has changed, also in a long-running command."""
    try:
        text = read_at_most(path, LARGEST_BYTES).decode("utf-8-sig")
        rows = dict(_rows(path, StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    if not rows:
        raise UserError(f"{path}: has no factors; expected rows of {','.join(COLUMNS)}")
    starts_s = sorted(rows)
    return HourlyFactors(tuple(starts_s), tuple(rows[start_s] for start_s in starts_s))


def _unreadable(path: Path, error: Exception) -> UserError:
    why = (isinstance(error, OSError) and error.strerror) or error
    return UserError(f"{path}: cannot be read as a file of hourly factors ({why}); check the path")


def _rows(path: Path, file: Iterator[str]) -> Iterator[tuple[float, float]]:
    header: list[str] | None = None
    seen: dict[float, int] = {}
    for line, cells in enumerate(csv.reader(file), start=1):
        if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if missing := [name for name in COLUMNS if name not in header]:
                raise UserError(f"{path}:{line}: no column {missing[0]}; the first row must name hour and g_per_kwh")
            continue
        row = dict(zip(header, cells, strict=False))
        start_s, factor = _instant(path, line, row.get("hour", "")), _factor(path, line, row.get("g_per_kwh", ""))
        if start_s in seen:
            raise UserError(f"{path}:{line}: hour: the same as in line {seen[start_s]}; keep one of them")
        seen[start_s] = line
        yield start_s, factor


def _instant(path: Path, line: int, text: str) -> float:
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UserError(f"{path}:{line}: hour: expected a time such as 2026-01-31T13:00Z, found {text!r}") from None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _factor(path: Path, line: int, text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = float("nan")
    if not isfinite(factor) or not 0 <= factor <= MOST_G_PER_KWH:
        expected = f"expected gCO2eq/kWh, 0 to {MOST_G_PER_KWH:g}"
        raise UserError(f"{path}:{line}: g_per_kwh: {expected}, found {text!r}")
    return factor
