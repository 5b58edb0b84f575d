"""Sums of figures of which some may be unknown. Pure; standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum
from typing import TypeVar

Number = TypeVar("Number", int, float)


def complete_sum(values: Iterable[Number | None]) -> Number | None:
    """Return the sum, None if any value is unknown."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    return sum(known) if len(known) == len(listed) else None


def known_sum(values: Iterable[float | None]) -> float | None:
    """Return the sum of the known values, None if there are none. What shows it must say what it leaves out."""
    known = [value for value in values if value is not None]
    return fsum(known) if known else None
