"""Fates of allocated time: useful, start-up, redone, lost to an error, idle; pure arithmetic.

Separate from detour.accounting.hours, because `detour status` needs hours but no fates.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum
from typing import NamedTuple

from detour.accounting.hours import AttemptUsage


class Fates(NamedTuple):
    """Allocated time by fate, in any single unit; the parts sum to the allocated time."""

    useful: float = 0.0
    """Work whose result was kept."""
    startup: float = 0.0
    """Start-up and restore, before the first new work."""
    redone: float = 0.0
    """Work between the last checkpoint and the end of an interrupted attempt, which must be redone."""
    failed: float = 0.0
    """Work lost to an error."""
    idle: float = 0.0
    """Time allocated without any sign of work."""

    @property
    def allocated(self) -> float:
        return fsum(self)

    def times(self, factor: float) -> Fates:
        useful, startup, redone, failed, idle = self
        return Fates(useful * factor, startup * factor, redone * factor, failed * factor, idle * factor)

    @staticmethod
    def sum(several: Iterable[Fates]) -> Fates:
        return Fates(*map(fsum, zip(*several, strict=True)))


class Known(NamedTuple):
    """A sum with the number of its unknown parts; None if all parts are unknown."""

    value: float | None
    unknown: int = 0

    @classmethod
    def sum(cls, values: Iterable[float | None]) -> Known:
        listed = list(values)
        known = [value for value in listed if value is not None]
        return cls(fsum(known) if known or not listed else None, len(listed) - len(known))


def fates_s(usage: AttemptUsage) -> Fates:
    """Split an attempt's time at first work, ready, saved and last work, clamped in order so that the parts add up.

    Time suspended is left out of each part in proportion. For a running attempt, work since the last checkpoint counts
    as useful until it turns out otherwise.
    """
    end_s = max(usage.start_s, usage.end_s)
    first_s = _within(usage.start_s if usage.worked_from_s is None else usage.worked_from_s, usage.start_s, end_s)
    last_s = _within(end_s if usage.worked_until_s is None else usage.worked_until_s, first_s, end_s)
    ready_s = _within(last_s if usage.ready_s is None else usage.ready_s, first_s, last_s)
    saved_s = _within(ready_s if usage.saved_s is None else usage.saved_s, ready_s, last_s)
    if usage.running:
        saved_s = last_s
    startup_s, lost_s = ready_s - first_s, last_s - saved_s
    if usage.failed and usage.ready_s is None:
        startup_s, lost_s = 0.0, lost_s + startup_s
    fates = Fates(
        useful=saved_s - ready_s,
        startup=startup_s,
        redone=0.0 if usage.failed else lost_s,
        failed=lost_s if usage.failed else 0.0,
        idle=(first_s - usage.start_s) + (end_s - last_s),
    )
    return fates if usage.active == 1.0 else fates.times(usage.active)


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
