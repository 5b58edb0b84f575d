"""Seconds as records hold them, and which of them a clock can have shown.

Beyond these bounds calendars fail, and loops over days take minutes; so readers of records refuse such values, and
what is behind the readers need not ask again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

LATEST_S = 4_102_444_800.0
"""The end of 2099 in UTC."""
LONGEST_S = 1e9
"""31 years: no job and no machine runs that long."""


def is_instant(value: float) -> bool:
    """Whether these are seconds since the epoch, before 2100; NaN is not."""
    return 0 <= value < LATEST_S


def is_duration(value: float) -> bool:
    """Whether something can have lasted so many seconds; NaN is no duration."""
    return 0 <= value < LONGEST_S


Bounds: TypeAlias = Callable[[float], bool]
Instant: TypeAlias = Annotated[float, is_instant]
"""Seconds since the epoch."""
Duration: TypeAlias = Annotated[float, is_duration]
"""In seconds."""
