"""The period of a report, and the part of an attempt that lies in it; pure.

An attempt across a boundary is split by time, and so is its charge; for its energy see `detour.accounting.parts`. The
parts of adjacent periods add up to the whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

from detour.accounting.hours import AttemptUsage
from detour.errors import UserError
from detour.times import midnight_s, zone_of

_CALENDAR = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(\d\d)(?:-(\d\d))?))?")
_AGO = re.compile(r"(\d{1,5})d")


@dataclass(frozen=True, slots=True)
class Period:
    """From `since_s` until `until_s` (exclusive), in seconds since the epoch; None if unbounded."""

    since_s: float | None = None
    until_s: float | None = None
    time_zone: str = "UTC"
    """Time zone of its days and of the instants in a report."""

    @property
    def is_bounded(self) -> bool:
        return self.since_s is not None or self.until_s is not None

    def part_of(self, usage: AttemptUsage) -> AttemptUsage | None:
        """Return the part of an attempt in the period, None if there is none."""
        if not self.is_bounded:
            return usage
        start_s = usage.start_s if self.since_s is None else max(usage.start_s, self.since_s)
        end_s = usage.end_s if self.until_s is None else min(usage.end_s, self.until_s)
        if end_s < start_s or (end_s == start_s and usage.end_s > usage.start_s):
            return None
        if (start_s, end_s) == (usage.start_s, usage.end_s):
            return usage
        cuts = {name: getattr(usage, name) for name in ("worked_from_s", "ready_s", "saved_s", "worked_until_s")}
        known = {name: min(max(instant, start_s), end_s) for name, instant in cuts.items() if instant is not None}
        return usage._replace(start_s=start_s, end_s=end_s, **known)

    def holds(self, instant_s: float) -> bool:
        return (self.since_s is None or instant_s >= self.since_s) and (
            self.until_s is None or instant_s < self.until_s
        )


def period_of(
    calendar: str | None, since: str | None, until: str | None, now_s: float, time_zone: str = "UTC"
) -> Period:
    """Parse a period: `2026`, `2026-Q3`, `2026-07`, `2026-07-14`; in `since` and `until` also `30d`, thirty days ago.

    `until` is the last day, month or year that is included. Raises UserError for anything else and for an unknown time
    zone.
    """
    zone_of(time_zone)
    if calendar is not None and (since or until):
        raise UserError("--period already sets start and end: leave out --since and --until")
    if calendar is not None:
        return Period(*_calendar(calendar, "--period", time_zone), time_zone)
    period = Period(
        _bound(since, "--since", now_s, time_zone)[0] if since else None,
        _bound(until, "--until", now_s, time_zone)[1] if until else None,
        time_zone,
    )
    if period.since_s is not None and period.until_s is not None and period.until_s <= period.since_s:
        raise UserError(f"--until {until} is before --since {since}")
    return period


def _bound(written: str, option: str, now_s: float, time_zone: str) -> tuple[float, float]:
    if ago := _AGO.fullmatch(written):
        instant_s = now_s - int(ago[1]) * 86_400.0
        return instant_s, instant_s
    return _calendar(written, option, time_zone)


def _calendar(written: str, option: str, time_zone: str) -> tuple[float, float]:
    match = _CALENDAR.fullmatch(written)
    try:
        if match is None:
            raise ValueError
        year, quarter, month, day = (int(part) if part else None for part in match.groups())
        assert year is not None
        first = date(year, 3 * quarter - 2 if quarter else month or 1, day or 1)
        if day:
            after = first + timedelta(days=1)
        else:
            months = 3 if quarter else 1 if month else 12
            after = date(year + (first.month + months - 1) // 12, (first.month + months - 1) % 12 + 1, 1)
        return midnight_s(first, time_zone), midnight_s(after, time_zone)
    except (ValueError, OverflowError):
        raise UserError(
            f"{option} {written!r} is not a period: write a year, quarter, month or day, such as 2026, 2026-Q3, "
            "2026-07, 2026-07-14" + ("" if option == "--period" else ", or a number of days ago, such as 30d")
        ) from None
