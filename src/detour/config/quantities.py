"""Parse and write numbers as people write them: `10B` tokens, `20h`, `1h30`."""

from __future__ import annotations

import re
from reprlib import repr as short

MAX_DURATION_S = 366 * 86_400
_COUNT = re.compile(
    r"^\s*((?:\d[\d_]{0,30}|[1-9]\d{0,2}(?:,\d{3}){1,8})(?:\.\d{1,30})?(?:[eE][+]?\d{1,2})?)\s*([kKMBGT]?)\s*$"
)
"""A comma only separates thousands: `0,25B`, with a decimal comma, is no quarter of a billion."""
_SCALE = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
_CLOCK = re.compile(r"^(?:(\d+)-)?(\d{1,3}):(\d{2})(?::(\d{2}))?$")
_TWO_PARTS = re.compile(r"^(\d{1,3}):(\d{2})$")
_UNITS = re.compile(
    r"^(?:(\d{1,9}(?:\.\d{1,9})?)\s*d)?\s*(?:(\d{1,9}(?:\.\d{1,9})?)\s*h)?\s*"
    r"(?:(\d{1,9})\s*(?:min|m))?\s*(?:(\d{1,9})\s*s)?$"
)
_HOURS_AND_MINUTES = re.compile(r"^(\d{1,9})\s*h\s*(\d{1,2})$")


def parse_count(value: object) -> object:
    """`10B` -> 10_000_000_000. Raises ValueError for text that is not a whole number; other types pass to pydantic."""
    if isinstance(value, bool):
        raise ValueError("expected a quantity such as 100M or 10B, not true or false")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return value
    from decimal import Decimal  # not needed by commands that only write figures

    match = _COUNT.match(value)
    if not match:
        raise ValueError(f"{short(value)} is not a quantity: write 3145728, 100M, 0.25B or 10B")
    number = Decimal(match[1].replace("_", "").replace(",", "")) * _SCALE[match[2]]
    if number != number.to_integral_value():
        raise ValueError(f"{short(value)} is not a whole number of tokens or rows")
    return int(number)


def parse_duration_s(value: object) -> object:
    """`20h`, `1h30`, `90m`, `2d`, `02:00:00` -> seconds. Raises ValueError if the unit is unclear: `20`, `02:00`."""
    if isinstance(value, int | float):
        raise ValueError(f"{short(value)} has no unit: write 20h, 90m, 1h30 or 02:00:00")
    if not isinstance(value, str):
        return value
    text = value.strip()
    if two := _TWO_PARTS.match(text):
        slurms, others = f"{two[1]}m{two[2]}s", f"{two[1]}h{two[2]}"
        raise ValueError(f"{short(value)} is {slurms} in Slurm and {others} elsewhere: write {slurms} or {others}")
    if clock := _CLOCK.match(text):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if hours_and_minutes := _HOURS_AND_MINUTES.match(text):
        return (int(hours_and_minutes[1]) * 60 + int(hours_and_minutes[2])) * 60
    units = _UNITS.match(text)
    if not text or not units:
        raise ValueError(f"{short(value)} is not a duration: write 20h, 90m, 1h30 or 02:00:00")
    from decimal import Decimal

    days_, hours_, minutes_, seconds_ = (Decimal(part or 0) for part in units.groups())
    return int(((days_ * 24 + hours_) * 60 + minutes_) * 60 + seconds_)


def write_duration(seconds: int) -> str:
    """72000 -> `20h`, 5400 -> `90m`, 45 -> `45s`; `parse_duration_s` reads it back exactly."""
    scale, unit = next(one for one in ((3600, "h"), (60, "m"), (1, "s")) if seconds % one[0] == 0)
    return f"{seconds // scale}{unit}"
