"""A plan's emissions by hour of start, in at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from detour.launch.text.price import band_json
from detour.launch.text.screen import NARROWEST
from detour.pricing.when import Start, StartTimes
from detour.text import MASS_UNITS, amount, cut, format_duration, plain, scaled, stage_names, unit_for, wrapped

EVERY_H = 3
"""Hours between the columns; --json has every hour."""


def when_lines(name: str, found: StartTimes) -> Iterator[str]:
    now = found.starts[0]
    scale, unit = unit_for(found.most.co2_g.expected, MASS_UNITS)
    yield f"When to start {cut(plain(name), 32)}: {unit} CO2eq by hour of start (UTC, M2)"
    yield "  " + " " * 11 + "".join(f"{hour:02d}:00".rjust(8) for hour in range(0, 24, EVERY_H))
    by_hour = {(_day(start), _clock(start)): start.co2_g.expected / scale for start in found.starts}
    for day in dict.fromkeys(_day(start) for start in found.starts):
        hours = (by_hour.get((day, f"{hour:02d}:00")) for hour in range(0, 24, EVERY_H))
        yield (f"  {day:<11}" + "".join(f"{'' if grams is None else amount(grams):>8}" for grams in hours)).rstrip()
    yield _named("now", now, now)
    yield _named("least", found.least, now)
    yield _named("most", found.most, now)
    if found.expected is not None:
        yield _named(found.expected_by or "", found.expected, now)
    text = f"it takes {format_duration(found.duration_s)} without queueing; PUE {found.pue}"
    yield from wrapped(text, width=NARROWEST)
    if found.unpriced:
        left_out = stage_names([plain(stage.name) for stage in found.unpriced])
        yield from wrapped(f"without {left_out}, of unknown duration", width=NARROWEST)
    yield "  Advisory: nothing is scheduled by this."


def _named(what: str, start: Start, now: Start) -> str:
    """For example `  least         2026-02-01 04:00   412 g (268 g to 556 g)   -28 %`."""
    low, high = scaled(start.co2_g.low, MASS_UNITS), scaled(start.co2_g.high, MASS_UNITS)
    line = f"  {what:<14}{_day(start)} {_clock(start)}  {scaled(start.co2_g.expected, MASS_UNITS):>8} ({low} to {high})"
    if start is now or now.co2_g.expected <= 0:
        return line
    return f"{line:<64}{start.co2_g.expected / now.co2_g.expected - 1:+7.0%}"


def _day(start: Start) -> str:
    return f"{datetime.fromtimestamp(start.at_s, UTC):%Y-%m-%d}"


def _clock(start: Start) -> str:
    return f"{datetime.fromtimestamp(start.at_s, UTC):%H:%M}"


def when_json(found: StartTimes) -> dict[str, Any]:
    def one(start: Start | None) -> dict[str, Any] | None:
        return None if start is None else {"start_s": start.at_s, "co2_g": band_json(start.co2_g)}

    return {
        "method": "M2 estimated",
        "duration_s": found.duration_s,
        "pue": found.pue.to_json(),
        "starts": [one(start) for start in found.starts],
        "least": one(found.least),
        "most": one(found.most),
        "expected": one(found.expected),
        "expected_by": found.expected_by,
        "unpriced": [stage.label for stage in found.unpriced],
    }
