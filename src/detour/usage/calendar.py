"""Days, months, quarters and years in a time zone, as spans of seconds since the epoch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from functools import cache

_FIRST_YEAR, _LAST_YEAR = 1970, 2099


class Unit(StrEnum):
    DAY = "day"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


FINEST_FIRST = tuple(Unit)


def coarser(label: str, unit: Unit) -> str:
    """Convert a label to a unit at least as coarse: `2026-03-31` -> `2026-Q1`."""
    if unit is Unit.YEAR:
        return label[:4]
    if unit is Unit.QUARTER and "Q" not in label:
        return f"{label[:4]}-Q{(int(label[5:7]) + 2) // 3}"
    return label[:7] if unit is Unit.MONTH else label


class Calendar:
    """Splits time spans at the boundaries of one unit, in one zone. A day with a clock change has 23 or 25 hours."""

    def __init__(self, unit: Unit, zone: tzinfo, first_s: float | None = None, last_s: float | None = None) -> None:
        """`first_s` and `last_s` bound the instants to look up, because listing all days is slow."""
        first_year, last_year = (
            None if at is None else datetime.fromtimestamp(at, zone).year for at in (first_s, last_s)
        )
        self._starts = _starts(unit, zone, first_year or _FIRST_YEAR, last_year or _LAST_YEAR)

    def label(self, at_s: float) -> str:
        """Return the label of the period that contains an instant; a boundary belongs to the period it begins."""
        starts, labels = self._starts
        return labels[max(0, bisect_right(starts, at_s) - 1)]

    def common_label(self, first_s: float, last_s: float) -> str | None:
        """Return the label of the period that contains both instants, None if there is none."""
        starts, labels = self._starts
        index = bisect_right(starts, first_s)
        return labels[index - 1] if 0 < index < len(starts) and last_s < starts[index] else None

    def pieces(self, start_s: float, end_s: float) -> Iterator[tuple[str, float, float]]:
        """Yield label, start and end of each piece of a span; an empty span gives one empty piece."""
        starts, labels = self._starts
        index = max(0, bisect_right(starts, start_s) - 1)
        while index + 1 < len(starts) and starts[index + 1] < end_s:
            yield labels[index], start_s, starts[index + 1]
            start_s = starts[index + 1]
            index += 1
        yield labels[index], start_s, end_s


@cache
def _starts(unit: Unit, zone: tzinfo, first_year: int, last_year: int) -> tuple[list[float], list[str]]:
    """Return the start and label of each period, followed by one of the next year, which ends the last period."""
    firsts = [*_first_days(unit, first_year, last_year), datetime(last_year + 1, 1, 1)]  # noqa: DTZ001  see below
    return (
        [day.replace(tzinfo=zone).timestamp() for day in firsts],
        [coarser(day.date().isoformat(), unit) for day in firsts],
    )


def _first_days(unit: Unit, first_year: int, last_year: int) -> Iterator[datetime]:
    if unit is Unit.DAY:
        day = datetime(first_year, 1, 1)  # noqa: DTZ001  the zone is added to each
        while day.year <= last_year:
            yield day
            day += timedelta(days=1)
        return
    every = {Unit.MONTH: 1, Unit.QUARTER: 3, Unit.YEAR: 12}[unit]
    for year in range(first_year, last_year + 1):
        for month in range(1, 13, every):
            yield datetime(year, month, 1)  # noqa: DTZ001
