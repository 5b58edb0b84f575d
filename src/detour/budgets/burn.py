"""The burn-down of a budget: its pace against linear use, and a forecast. Pure arithmetic on one measure.

The forecast extrapolates the rate of the last four weeks. Its band spans the rates of the last week, the last four
weeks and the whole period: a range that can be checked by hand, not a confidence interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import NamedTuple

from detour.accounting.energy import Band
from detour.times import DAY_S, LATEST_S, days_later_s, local, midnight_s

RECENT_DAYS = (28.0, 7.0)
"""Spans over which the rate is measured; the first one gives the expected rate."""
ROWS = 12


class Piece(NamedTuple):
    """An amount used evenly between two instants, in seconds since the epoch."""

    start_s: float
    end_s: float
    amount: float


class Row(NamedTuple):
    """The burn-down at one instant."""

    at_s: float
    spent: float
    pace: float | None
    """What linear use of the cap would amount to; None without a cap or an end."""


@dataclass(frozen=True, slots=True)
class Burn:
    """One measure of a budget in one period, at one instant. None means unknown, or undefined without a bound."""

    now_s: float
    start_s: float
    end_s: float | None
    cap: float | None
    spent: float
    reserved: float
    pace: float | None
    """What linear use of the cap would amount to by now."""
    rate_per_day: Band | None
    rows: tuple[Row, ...]
    time_zone: str = "UTC"
    """Time zone in which its days begin."""

    @property
    def forecast(self) -> Band | None:
        """Usage at the end of the period, at least what is already spent and reserved."""
        if self.rate_per_day is None or self.end_s is None:
            return None
        days = max(0.0, self.end_s - self.now_s) / DAY_S
        least = self.spent + self.reserved
        rate = self.rate_per_day
        return Band(*(max(least, self.spent + each * days) for each in (rate.low, rate.expected, rate.high)))

    @property
    def lapses(self) -> Band | None:
        """Amount that will be unused when the period ends; None if none is expected."""
        if self.cap is None or self.forecast is None or self.forecast.expected >= self.cap:
            return None
        used = self.forecast
        return Band(*(max(0.0, self.cap - each) for each in (used.high, used.expected, used.low)))

    def exhausted_s(self) -> tuple[float | None, float | None, float | None]:
        """Return when the cap is reached at the highest, expected and lowest rate; None after the period, or 2099."""
        if self.cap is None or self.rate_per_day is None:
            return None, None, None
        left, rate = max(0.0, self.cap - self.spent), self.rate_per_day
        last_s = LATEST_S if self.end_s is None else min(self.end_s, LATEST_S)
        at_s = (self.now_s + left / each * DAY_S if each > 0 else inf for each in (rate.high, rate.expected, rate.low))
        early, expected, late = (instant_s if instant_s <= last_s else None for instant_s in at_s)
        return early, expected, late


def burn(
    pieces: Sequence[Piece],
    reserved: float,
    cap: float | None,
    now_s: float,
    window_s: tuple[float | None, float | None],
    time_zone: str = "UTC",
) -> Burn:
    """Compute the burn-down of `pieces` that overlap the window; a window without a start begins at the first use."""
    start_s = window_s[0]
    if start_s is None:
        start_s = min((piece.start_s for piece in pieces), default=now_s)
    end_s = window_s[1]
    spent = used(pieces, start_s, now_s)
    pace = None if cap is None or end_s is None else cap * _share(now_s, start_s, end_s)
    return Burn(
        now_s=now_s,
        start_s=start_s,
        end_s=end_s,
        cap=cap,
        spent=spent,
        reserved=reserved,
        pace=pace,
        rate_per_day=_rate(pieces, start_s, now_s),
        rows=tuple(
            Row(
                at_s, used(pieces, start_s, at_s), None if pace is None else (cap or 0.0) * _share(at_s, start_s, end_s)
            )
            for at_s in _instants(start_s, now_s, time_zone)
        ),
        time_zone=time_zone,
    )


def used(pieces: Sequence[Piece], first_s: float, last_s: float) -> float:
    """Return the amount used between two instants."""
    return fsum(
        amount if first_s <= start_s < end_s <= last_s else amount * share_between(start_s, end_s, first_s, last_s)
        for start_s, end_s, amount in pieces
        if start_s < last_s and end_s >= first_s
    )


def share_between(start_s: float, end_s: float, first_s: float, last_s: float) -> float:
    """Return the share of a span that lies between two instants, 0 or 1 for a span of no length."""
    length_s = end_s - start_s
    if length_s <= 0:
        return float(first_s <= start_s < last_s)
    return max(0.0, min(end_s, last_s) - max(start_s, first_s)) / length_s


def _rate(pieces: Sequence[Piece], start_s: float, now_s: float) -> Band | None:
    """Return the rate per day, None before a day has passed."""
    past_days = (now_s - start_s) / DAY_S
    if past_days < 1:
        return None
    spans = [days for days in RECENT_DAYS if days < past_days]
    rates = [used(pieces, now_s - days * DAY_S, now_s) / days for days in spans]
    rates.append(used(pieces, start_s, now_s) / past_days)
    expected = rates[0] if len(spans) == len(RECENT_DAYS) else rates[-1]
    return Band(min(rates), expected, max(rates))


def _instants(start_s: float, now_s: float, time_zone: str) -> list[float]:
    """Return midnights from the start to now, in steps of 1, 7, 28, 91 or 364 days, and now."""
    first_s = midnight_s(local(start_s, time_zone).date(), time_zone)
    for step_days in (1, 7, 28, 91, 364):
        step_s = step_days * DAY_S
        if (now_s - start_s) / step_s < ROWS:
            break
    count = int(max(0.0, now_s - first_s) // step_s)
    whole = (days_later_s(first_s, step_days * index, time_zone) for index in range(1, count + 1))
    return [at_s for at_s in whole if at_s < now_s] + [now_s]


def _share(at_s: float, start_s: float, end_s: float | None) -> float:
    if end_s is None or end_s <= start_s:
        return 1.0
    return min(1.0, max(0.0, (at_s - start_s) / (end_s - start_s)))
