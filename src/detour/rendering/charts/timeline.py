"""Attempts over time: a bar from start to end of each, coloured by what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from detour.rendering.charts.svg import Canvas, Scale, columns, days, left_out, plot, rectangle, text
from detour.reporting.data import AttemptRow
from detour.text import format_duration

MOST_ROWS = 30
ROW, THICK = 20.0, 14.0
LEAST_WIDTH = 1.5
"""Of a bar: short attempts remain visible."""


def timeline_chart(canvas: Canvas, rows: Mapping[str, Sequence[AttemptRow]], time_zone: str) -> Markup:
    """Draw a row per name; of many, those that were active last. Bars of concurrent attempts lie on one another."""
    known = {name: attempts for name, attempts in rows.items() if attempts}
    drawn = sorted(known, key=lambda name: -max(attempt.ended_s for attempt in known[name]))[:MOST_ROWS]
    drawn.sort(key=lambda name: min(attempt.started_s for attempt in known[name]))
    shown = [attempt for name in drawn for attempt in known[name]]
    low_s = min((attempt.started_s for attempt in shown), default=0.0)
    high_s = max((attempt.ended_s for attempt in shown), default=0.0)
    if high_s <= low_s:
        return Markup("")
    foot, across = 6.0 + ROW * len(drawn), Scale(low_s, high_s, canvas.row_name, canvas.right)
    parts = [columns(across, days(low_s, high_s, time_zone, canvas.ticks), 4, foot)]
    for number, name in enumerate(drawn):
        y = 6.0 + ROW * number
        parts.append(text(canvas.row_name - 10, y + 11, canvas.row(name), "end", "row-name"))
        for attempt in known[name]:
            x, width = across(attempt.started_s), across(attempt.ended_s) - across(attempt.started_s)
            said = f"{name}, attempt {attempt.number}: {attempt.outcome} after {format_duration(attempt.elapsed_s)}"
            classes = f"attempt outcome-{attempt.outcome}"
            parts.append(rectangle(x, y, max(width, LEAST_WIDTH), THICK, classes, said))
    remark = left_out(canvas, foot + 34, "active last:", len(drawn), len(known))
    return plot(canvas, foot + 22 + 18 * len(remark), "attempts over time", [*parts, *remark])
