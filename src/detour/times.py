"""Bounds of valid times, and days in a time zone, some of which have 23 or 25 hours.

Outside the bounds, calendars fail and loops over days take minutes. Readers of records refuse such values, so the rest
of the code need not check them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo
from typing import Annotated, TypeAlias

from detour.errors import UserError

DAY_S = 86_400.0
LATEST_S = 4_102_444_800.0
"""The end of 2099 in UTC."""
LONGEST_S = 1e9
"""31 years; no job or machine runs that long."""


def is_instant(value: float) -> bool:
    """Whether the value is a time in seconds since the epoch before 2100; NaN is not."""
    return 0 <= value < LATEST_S


def is_duration(value: float) -> bool:
    """Whether the value is a plausible duration in seconds; NaN is not."""
    return 0 <= value < LONGEST_S


Instant: TypeAlias = Annotated[float, is_instant]
"""Seconds since the epoch."""
Duration: TypeAlias = Annotated[float, is_duration]
"""A duration in seconds."""


def zone_of(name: str) -> tzinfo:
    """Return a time zone by name: `UTC`, `Europe/Paris`. Raises UserError if there is none."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo  # not needed for UTC, the usual case

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UserError(
            f"no time zone {name!r}: expected one of the tz database, such as UTC or Europe/Paris"
        ) from None


def local(epoch_s: float, time_zone: str = "UTC") -> datetime:
    return datetime.fromtimestamp(epoch_s, zone_of(time_zone))


def midnight_s(day: date, time_zone: str = "UTC") -> float:
    """Return the first instant of a day, in seconds since the epoch."""
    return datetime.combine(day, time.min, zone_of(time_zone)).timestamp()


def days_later_s(epoch_s: float, days: int, time_zone: str = "UTC") -> float:
    """Return the same time of day, `days` later."""
    later_s = epoch_s + days * DAY_S
    return later_s + _offset_s(epoch_s, time_zone) - _offset_s(later_s, time_zone)


def _offset_s(epoch_s: float, time_zone: str) -> float:
    offset = local(epoch_s, time_zone).utcoffset()
    return offset.total_seconds() if offset else 0.0
