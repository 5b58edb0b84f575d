"""Time zones by name, and days in them: where clocks change, a day has 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo

from detour.errors import UserError

DAY_S = 86_400.0


def zone_of(name: str) -> tzinfo:
    """`UTC`, `Europe/Paris`. Raises UserError for what is none."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo  # most sites are asked for in UTC

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UserError(f"no time zone {name!r}: expected one of the tz database, as UTC or Europe/Paris") from None


def local(epoch_s: float, time_zone: str = "UTC") -> datetime:
    return datetime.fromtimestamp(epoch_s, zone_of(time_zone))


def midnight_s(day: date, time_zone: str = "UTC") -> float:
    """Its first instant, in seconds since the epoch."""
    return datetime.combine(day, time.min, zone_of(time_zone)).timestamp()


def days_later_s(epoch_s: float, days: int, time_zone: str = "UTC") -> float:
    """The same time of day so many days later."""
    later_s = epoch_s + days * DAY_S
    return later_s + _offset_s(epoch_s, time_zone) - _offset_s(later_s, time_zone)


def _offset_s(epoch_s: float, time_zone: str) -> float:
    offset = local(epoch_s, time_zone).utcoffset()
    return offset.total_seconds() if offset else 0.0
