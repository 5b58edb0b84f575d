"""Attempts over time: a bar from start to end of each, coloured by what became of it.

Attempts of one outcome between which no gap would be seen share a bar, so that thousands of them remain a small page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from detour.grouping import grouped
from detour.rendering.charts.svg import Canvas, Scale, columns, days, left_out, plot, rectangle, row_label
from detour.reporting.data import AttemptRow
from detour.text import format_duration

MOST_ROWS = 30
ROW, THICK = 20.0, 14.0
LEAST_WIDTH = 1.5
"""Of a bar: short attempts remain visible."""


def timeline_chart(canvas: Canvas, rows: Mapping[str, Sequence[AttemptRow]], time_zone: str) -> Markup:
    """Draw a row per name; of many, those that were active last. Bars of other outcomes lie on one another."""
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
        parts.append(row_label(canvas, y + 11, name))
        for bar in _bars(known[name], (high_s - low_s) / (canvas.right - canvas.row_name)):
            x, width = across(bar.start_s), across(bar.end_s) - across(bar.start_s)
            classes, said = f"attempt outcome-{bar.outcome}", f"{name}, {bar.title}"
            parts.append(rectangle(x, y, max(width, LEAST_WIDTH), THICK, classes, said))
    remark = left_out(canvas, foot + 34, "active last:", len(drawn), len(known))
    return plot(canvas, foot + 22 + 18 * len(remark), "attempts over time", [*parts, *remark])


class _Bar(NamedTuple):
    outcome: str
    start_s: float
    end_s: float
    attempts: tuple[AttemptRow, ...]

    @property
    def title(self) -> str:
        if len(self.attempts) > 1:
            return f"{len(self.attempts):,} attempts: {self.outcome}"
        (attempt,) = self.attempts
        return f"attempt {attempt.number}: {self.outcome} after {format_duration(attempt.allocated_s)}"


def _bars(attempts: Sequence[AttemptRow], gap_s: float) -> Iterator[_Bar]:
    """Join attempts of one outcome that overlap or are less than `gap_s` apart."""
    in_order = sorted(attempts, key=lambda attempt: attempt.started_s)
    for outcome, ordered in grouped((attempt.outcome, attempt) for attempt in in_order).items():
        joined: list[AttemptRow] = []
        end_s = 0.0
        for attempt in ordered:
            if joined and attempt.started_s > end_s + gap_s:
                yield _Bar(outcome, joined[0].started_s, end_s, tuple(joined))
                joined = []
            end_s = max(end_s, attempt.ended_s) if joined else attempt.ended_s
            joined.append(attempt)
        yield _Bar(outcome, joined[0].started_s, end_s, tuple(joined))
