"""A budget on a screen: bars, pace, forecast, burn-down, and the reservations that count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from detour.accounting.energy import Band
from detour.budgets.arithmetic import UNITS
from detour.budgets.burn import Burn
from detour.budgets.caps import Measure
from detour.budgets.reservations import Reservation
from detour.budgets.view import BudgetView
from detour.launch.text.price import band_json
from detour.text import amount, counted, cut, plain, wrapped
from detour.times import local

BAR_WIDTH = 40
BESIDE_BARS = 50
"""Columns of a line by day, without its bar."""
SPENT, HELD, FREE, PACE = "█", "▒", "·", "│"
LEGEND = (
    f"Bars: {SPENT} spent, {HELD} reserved, {PACE} linear pace; by day: {SPENT} left, {PACE} what that pace leaves."
)
SHOWN = 5


def render_budget(view: BudgetView, width: int) -> str:
    """The budget in at most `width` columns, which must be 80 or more."""
    bar_width = min(BAR_WIDTH, width - BESIDE_BARS)
    budget = view.budget
    scope = ", ".join(f"{name} {value}" for name, value in budget.scope.model_dump(exclude_none=True).items())
    first = next(iter(view.burns.values()))
    zone = budget.period.time_zone
    period = f"{_day(first.start_s, zone)} to {_day(first.end_s - 1, zone) if first.end_s else 'no end'}"
    period += "" if zone == "UTC" else f", {zone}"
    lines = wrapped(f"{budget.name}: {scope or 'everything'}; {period}", "", width)
    lines += wrapped(plain(budget.description), width=width) if budget.description else []
    for measure, one in view.burns.items():
        lines.append(_measure(measure, one, bar_width))
        lines += [line for text in _words(view, measure, one) for line in wrapped(text, " " * 12, width)]
    lines += _burn_down(next(iter(view.burns)), first, bar_width)
    lines += _reservations(view, width)
    return "\n".join(lines)


def bar(spent: float, reserved: float, pace: float | None, cap: float, width: int) -> str:
    """The spent, reserved and free parts of the cap, and where linear use would be now."""

    def cells(value: float) -> int:
        return min(width, round(width * value / cap)) if cap > 0 else width

    done, held = cells(spent), cells(spent + reserved)
    drawn = [SPENT if index < done else HELD if index < held else FREE for index in range(width)]
    if pace is not None:
        drawn[min(width - 1, cells(pace))] = PACE
    return "".join(drawn)


def _measure(measure: Measure, one: Burn, bar_width: int) -> str:
    assert one.cap is not None
    share = f" {(one.spent + one.reserved) / one.cap:.0%}" if one.cap else ""
    return f"  {UNITS[measure]:<9} [{bar(one.spent, one.reserved, one.pace, one.cap, bar_width)}]{share}"


def _words(view: BudgetView, measure: Measure, one: Burn) -> Iterator[str]:
    cap = view.budget.caps()[measure]
    assert one.cap is not None
    caps = f"{_amount(one.cap)}" + (f" (soft {_amount(cap.soft)})" if cap.hard is not None and cap.soft else "")
    yield f"{_amount(one.spent)} spent + {_amount(one.reserved)} reserved of {caps}"
    if unknown := view.balance.unknown[measure]:
        yield f"without {counted(unknown, 'attempt or reservation', 'attempts and reservations')} of unknown amount"
    if one.pace is not None:
        ahead = one.spent - one.pace
        yield f"linear pace {_amount(one.pace)}: {_amount(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} it"
    yield from _forecast(one)


def _forecast(one: Burn) -> Iterator[str]:
    if one.forecast is not None:
        yield f"forecast at the end: {_range(one.forecast)}"
    elif one.rate_per_day is None:
        yield "forecast: too early"
    if one.cap is not None and one.spent >= one.cap:
        yield f"used up: {_amount(one.spent - one.cap)} over the cap"
    elif words := exhaustion(*one.exhausted_s(), one.time_zone):
        yield words
    if one.lapses is not None:
        yield f"will lapse unused: {_range(one.lapses)}"


def exhaustion(early_s: float | None, expected_s: float | None, late_s: float | None, time_zone: str = "UTC") -> str:
    """When the budget will be used up; empty if not even the highest rate reaches the cap in time."""
    if early_s is None:
        return ""
    early = _day(early_s, time_zone)
    if expected_s is None:
        return f"used up on {early} at the highest rate; not in this period at the expected rate"
    expected = _day(expected_s, time_zone)
    if late_s is None:
        at_highest = "" if early == expected else f", on {early} at the highest rate"
        return f"used up on {expected}{at_highest}; not in this period at the lowest rate"
    late = _day(late_s, time_zone)
    return f"used up on {expected}" if early == expected == late else f"used up on {expected} ({early} to {late})"


def _burn_down(measure: Measure, one: Burn, bar_width: int) -> Iterator[str]:
    if one.cap is None or not one.cap or len(one.rows) < 2:
        return
    yield f"  {f'{UNITS[measure]} left by day:':<18}{'left':>15}" + ("   linear pace" if one.pace is not None else "")
    for row in one.rows:
        left, pace = one.cap - row.spent, None if row.pace is None else one.cap - row.pace
        drawn = bar(max(0.0, left), 0.0, pace, one.cap, bar_width)
        words = "" if pace is None else _amount(pace)
        yield f"  {_day(row.at_s, one.time_zone)}       {_amount(left):>12}  {words:>12}   [{drawn}]"


def _reservations(view: BudgetView, width: int) -> Iterator[str]:
    held, zone = view.reservations, view.budget.period.time_zone
    if held:
        yield f"  {counted(len(held), 'reservation')} in force (id, day, chain or sweep, user, stages):"
    for one in held[-SHOWN:]:
        stages = counted(len(one.amounts), "stage")
        yield cut(f"    {plain(one.submission)}  {_day(one.at_s, zone)}  {_what(one)}, {stages}", width)
    if len(held) > SHOWN:
        yield f"    and {len(held) - SHOWN} earlier"
    for one in view.overrides[-SHOWN:]:
        why = plain(one.why or "no reason recorded")
        yield from wrapped(f"over budget on {_day(one.at_s, zone)}, {_what(one)}: {why}", width=width)


def _what(one: Reservation) -> str:
    name = one.facts.get("sweep") or one.facts.get("chain") or "a submission"
    return f"{plain(name)} by {plain(one.facts.get('user') or 'unknown')}"


def budget_json(view: BudgetView) -> dict[str, Any]:
    return {
        "budget": view.budget.name,
        "scope": view.budget.scope.model_dump(exclude_none=True),
        "measures": {measure: _burn_json(view, measure, one) for measure, one in view.burns.items()},
        "reservations": [_reservation_json(one) for one in view.reservations],
        "overrides": [_reservation_json(one) for one in view.overrides],
    }


def _burn_json(view: BudgetView, measure: Measure, one: Burn) -> dict[str, Any]:
    cap, zone = view.budget.caps()[measure], one.time_zone
    return {
        "soft": cap.soft,
        "hard": cap.hard,
        "start": _day(one.start_s, zone),
        "end": None if one.end_s is None else _day(one.end_s - 1, zone),
        "time_zone": zone,
        "spent": one.spent,
        "reserved": one.reserved,
        "unknown": view.balance.unknown[measure],
        "pace": one.pace,
        "rate_per_day": band_json(one.rate_per_day),
        "forecast": band_json(one.forecast),
        "lapses": band_json(one.lapses),
        "exhausted": [None if at_s is None else _day(at_s, zone) for at_s in one.exhausted_s()],
        "rows": [{"day": _day(row.at_s, zone), "spent": row.spent, "pace": row.pace} for row in one.rows],
    }


def _reservation_json(one: Reservation) -> dict[str, Any]:
    return {
        "submission": one.submission,
        "at_s": one.at_s,
        "facts": dict(one.facts),
        "stages": len(one.amounts),
        "committed": one.committed,
        "over": list(one.over),
        "why": one.why,
    }


def _range(band: Band) -> str:
    return f"{_amount(band.expected)} ({_amount(band.low)} to {_amount(band.high)})"


def _amount(value: float) -> str:
    return amount(value) if value >= 0 else f"-{amount(-value)}"


def _day(at_s: float, time_zone: str) -> str:
    return local(at_s, time_zone).date().isoformat()
