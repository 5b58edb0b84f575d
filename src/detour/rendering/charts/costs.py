"""Charts of usage over time against a budget's pace, by stage and by fate, and of CO2 by method."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from detour.accounting.energy import Band, EnergyFigure
from detour.accounting.fates import Fates
from detour.budgets.burn import Burn
from detour.rendering.charts.svg import (
    Canvas,
    Scale,
    columns,
    days,
    grid_lines,
    left_out,
    plot,
    polyline,
    rectangle,
    row_label,
    text,
    ticks,
    upright,
)
from detour.rendering.words import co2, significant

MOST_BARS = 12
HEADROOM = 1.25
"""Upper limit of the axis as a multiple of the cap; a forecast beyond it is cut off."""


def burn_chart(canvas: Canvas, burn: Burn, curve: Sequence[tuple[float, float]], unit: str) -> Markup:
    """Draw usage, the linear pace, and the forecast as a fan up to the end of the period."""
    end_s = burn.now_s if burn.end_s is None else burn.end_s
    if end_s <= burn.start_s or not burn.rows:
        return Markup("")
    forecast = burn.forecast
    high = max(burn.spent, HEADROOM * (burn.cap or 0.0), forecast.expected if forecast else 0.0)
    if high <= 0:
        return Markup("")
    top, foot = 22.0, 232.0
    across, scale = Scale(burn.start_s, end_s, canvas.left, canvas.right), upright([0.0, high], top, foot)
    parts = [grid_lines(canvas, scale, unit)]
    parts.append(columns(across, days(burn.start_s, end_s, burn.time_zone, canvas.ticks), foot, foot))
    now = (across(burn.now_s), scale(burn.spent))
    if forecast is not None and end_s > burn.now_s:
        parts.append(_fan(now, across(end_s), scale, forecast))
    if burn.cap is not None and burn.end_s is not None:
        pace = [(across(burn.start_s), scale(0.0)), (across(end_s), scale(burn.cap))]
        parts.append(polyline(pace, "line pace", "linear pace"))
        parts.append(text(across(end_s) - 4, scale(burn.cap) - 6, f"{significant(burn.cap)} {unit}", "end", "row-name"))
    used = [(across(burn.start_s), scale(0.0)), *((across(at_s), scale(spent)) for at_s, spent in curve)]
    parts.append(polyline(used, "line used", "used"))
    parts.append(Markup('<circle class="used-now" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(*now))
    return plot(canvas, foot + 24, f"{unit} used over time", parts)


def fates_chart(canvas: Canvas, rows: Sequence[tuple[str, Fates]]) -> Markup:
    """Draw one bar per row, as shares of the allocated hours; of many, the first (all) and those that lost most."""
    known = [(name, fates) for name, fates in rows if fates.allocated > 0]
    drawn = known
    if len(known) > MOST_BARS:
        total, *others = known
        drawn = [total, *sorted(others, key=lambda row: row[1].useful - row[1].allocated)[: MOST_BARS - 1]]
    if not drawn:
        return Markup("")
    parts = []
    for number, (name, fates) in enumerate(drawn):
        y = 6.0 + 26.0 * number
        parts.append(row_label(canvas, y + 13, name))
        x, width = canvas.row_name, canvas.right - canvas.row_name
        for part, amount in fates._asdict().items():
            share = amount / fates.allocated
            if share > 0:
                title = f"{name}, {part}: {100 * share:.1f} %"
                parts.append(rectangle(x, y, share * width, 18, f"fate-{part}", title))
            x += share * width
    foot = 10 + 26.0 * len(drawn)
    said = left_out(canvas, foot + 12, "most hours lost:", len(drawn) - 1, len(known) - 1)
    return plot(canvas, foot + 18 * len(said), "what became of the hours, as shares", [*parts, *said])


def bars(canvas: Canvas, rows: Sequence[tuple[str, float]], unit: str) -> Markup:
    """Draw one bar per row, longest first."""
    known = sorted(((name, value) for name, value in rows if value > 0), key=lambda row: -row[1])
    drawn = known[:MOST_BARS]
    if not drawn:
        return Markup("")
    across = Scale(0.0, drawn[0][1], canvas.row_name, canvas.right - 60)
    parts = []
    for number, (name, value) in enumerate(drawn):
        y = 6.0 + 26.0 * number
        parts.append(row_label(canvas, y + 13, name))
        parts.append(
            rectangle(
                canvas.row_name, y, across(value) - canvas.row_name, 18, "bar", f"{name}: {significant(value)} {unit}"
            )
        )
        parts.append(text(across(value) + 6, y + 13, significant(value), "start"))
    foot = 10 + 26.0 * len(drawn)
    said = left_out(canvas, foot + 12, "the longest", len(drawn), len(known))
    return plot(canvas, foot + 18 * len(said), f"{unit} of each row", [*parts, *said])


def energy_chart(canvas: Canvas, rows: Sequence[EnergyFigure]) -> Markup:
    """Draw CO2 by each method with its band."""
    drawn = [(f"{row.method}, {row.site.name}", band) for row in rows if (band := row.co2_g) is not None]
    high = max((band.high for _, band in drawn), default=0.0)
    if high <= 0:
        return Markup("")
    across, foot = Scale(0.0, high * 1.05, canvas.row_name, canvas.right), 10.0 + 30.0 * len(drawn)
    parts = [columns(across, [(tick, co2(tick)) for tick in ticks(0.0, high, canvas.ticks)], 4, foot)]
    parts.append(text(canvas.row_name - 28, foot + 16, "CO2eq", "end", "axis-name"))
    line = Markup('<line class="whisker series-{}" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"><title>{}</title></line>')
    dot = Markup('<circle class="dot series-{}" cx="{:.1f}" cy="{}" r="5"><title>{}</title></circle>')
    for number, (name, band) in enumerate(drawn):
        y, title = 22.0 + 30.0 * number, f"{name}: {co2(band.expected)}, {co2(band.low)} to {co2(band.high)}"
        parts.append(row_label(canvas, y + 4, name))
        parts.append(line.format(number % 6, across(band.low), across(band.high), title, y=y))
        parts.append(dot.format(number % 6, across(band.expected), y, title))
    return plot(canvas, foot + 24, "CO2 by method, with bands", parts)


def _fan(now: tuple[float, float], end: float, scale: Scale, forecast: Band) -> Markup:
    x, y = now
    reached = (scale(forecast.high) - y) / (scale.end - y) if scale.end != y else 0.0
    top = [(end, scale(forecast.high))] if reached <= 1 else [(x + (end - x) / reached, scale.end), (end, scale.end)]
    corners = " ".join(f"{px:.1f},{py:.1f}" for px, py in [now, *top, (end, scale(forecast.low))])
    fan = Markup('<polygon class="fan" points="{}"><title>forecast</title></polygon>').format(corners)
    return fan + polyline([now, (end, scale(forecast.expected))], "line forecast", "forecast")
