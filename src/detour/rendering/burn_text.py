"""Describe a burn-down in sentences: usage, pace, forecast, and when the budget runs out or how much lapses."""

from __future__ import annotations

from detour.accounting.energy import Band
from detour.rendering.words import day, last_day, significant
from detour.reporting.report import BurnDown


def name(one: BurnDown) -> str:
    """Name of its table."""
    return f"burn-{one.budget or 'own'}-{one.measure}"


def title(one: BurnDown) -> str:
    return f"{one.budget}: {one.unit}" if one.budget else f"{one.unit} used"


def note(one: BurnDown) -> str:
    """Return the description, without sentences whose figures are unknown."""
    burn, unit, zone = one.burn, one.unit, one.burn.time_zone
    said = [f"{significant(burn.spent)} {unit} used {_until(burn.now_s, zone)}"]
    if burn.cap is not None:
        said[0] += f", {significant(burn.reserved)} reserved, of {significant(burn.cap)}"
    if burn.pace is not None:
        ahead = burn.spent - burn.pace
        side = "ahead of" if ahead > 0 else "behind"
        said.append(f"Linear pace: {significant(burn.pace)}, so use is {significant(abs(ahead))} {side} it")
    if burn.forecast is not None and burn.end_s is not None:
        said.append(f"Forecast for {last_day(burn.end_s, zone)}: {_range(burn.forecast)}")
    early_s, expected_s, late_s = burn.exhausted_s()
    if burn.cap is not None and burn.spent > burn.cap:
        said.append(f"The cap is exceeded by {significant(burn.spent - burn.cap)} {unit}{_times(burn.spent, burn.cap)}")
    elif burn.cap is not None and burn.spent == burn.cap:
        said.append("The budget is used up")
    elif expected_s is not None and early_s is not None:
        late = f" to {day(late_s, zone)}" if late_s is not None else " or later"
        said.append(f"Used up on {day(expected_s, zone)} ({day(early_s, zone)}{late})")
    elif early_s is not None:
        said.append(f"At the fastest rate seen it would be used up on {day(early_s, zone)}")
    if burn.lapses is not None:
        said.append(f"Likely to lapse unused: {_range(burn.lapses)}")
    if burn.forecast is not None:
        said.append("The forecast keeps the rate of the last four weeks; its range is what other stretches would give")
    return ". ".join(said) + "."


def _until(now_s: float, zone: str) -> str:
    """Return `by DAY`, or `up to the end of DAY` for a period that ended at midnight."""
    last = last_day(now_s, zone)
    return f"by {last}" if last == day(now_s, zone) else f"up to the end of {last}"


def _times(spent: float, cap: float) -> str:
    return f" ({100 * spent / cap:,.0f} % used)" if cap else ""


def _range(band: Band) -> str:
    return f"{significant(band.expected)} ({significant(band.low)} to {significant(band.high)})"
