"""Charts of scores: every seed of every chain, a sweep's grid, and score against cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from markupsafe import Markup

from detour.rendering.charts.svg import (
    SERIES,
    Canvas,
    Scale,
    columns,
    grid_lines,
    left_out,
    padded,
    plot,
    polyline,
    rectangle,
    row_label,
    text,
    ticks,
    upright,
)
from detour.rendering.words import percent, significant
from detour.reporting.data import TaskScores
from detour.reporting.efficiency import PointCost
from detour.reporting.grid import Grid
from detour.text import cut

SHADES = 7
"""Number of shades of the grid's cells in the style sheet; the last is the highest."""
MOST_ROWS, MOST_SCORED, ROW = 40, 12, 28.0
ROOM_FOR_VALUE = 34.0
"""Width from which a cell shows its value."""


def score_chart(canvas: Canvas, task: str, chains: Sequence[tuple[str, int, TaskScores]]) -> Markup:
    """Draw every seed as a dot and the mean as a bar with its standard deviation, with one row per chain.

    `chains` are (name, colour, scores). If there are too many, only the best are shown.
    """
    scored = [(name, colour, scores) for name, colour, scores in chains if scores.present]
    rows = scored
    if len(rows) > MOST_SCORED:
        rows = sorted(rows, key=lambda row: -(row[2].mean or 0.0))[:MOST_SCORED]
    values = [value for _, _, scores in rows for value in scores.by_seed.values() if value is not None]
    if not values:
        return Markup("")
    reach = [
        scores.mean + sign * (scores.standard_deviation or 0.0)
        for _, _, scores in rows
        if scores.mean is not None
        for sign in (-1, 1)
    ]
    low, high = padded(min([*values, *reach]), max([*values, *reach]), 0.15)
    across = Scale(max(0.0, low), min(1.0, high), canvas.row_name, canvas.right)
    foot = 14.0 + ROW * len(rows)
    parts = [columns(across, [(tick, percent(tick)) for tick in ticks(across.low, across.high, canvas.ticks)], 8, foot)]
    parts += [_score_row(canvas, *row, across, 25.0 + ROW * number) for number, row in enumerate(rows)]
    said = left_out(canvas, foot + 38, "the best", len(rows), len(scored))
    which = "the best" if said else "all"
    return plot(canvas, foot + 24 + 20 * len(said), f"{task}: test scores of {which} chains by seed", [*parts, *said])


def grid_chart(canvas: Canvas, grid: Grid, values: dict[str, float | None], what: str) -> Markup:
    """Draw one cell per chain, darker for more of `what`: the last axis across, combinations of the others down."""
    across = grid.axes[-1].labels
    down = list(dict.fromkeys(tuple(point.labels[:-1]) for point in grid.points))
    known = [value for value in values.values() if value is not None]
    if not known or len(down) > MOST_ROWS or len(across) > 16:
        return Markup("")
    width, height, top = (canvas.right - canvas.row_name) / len(across), 34.0, 44.0
    parts = [text(canvas.row_name, 14, grid.axes[-1].name, "start", "axis-name")]
    corner = ", ".join(axis.name for axis in grid.axes[:-1]) if down != [()] else ""
    parts += [
        row_label(canvas, 34, corner, "axis-name"),
        text(0, 14, what, "start", "row-name"),
    ]
    every = ceil(ROOM_FOR_VALUE / width)
    parts += [
        text(canvas.row_name + width * (number + 0.5), 34, cut(label, max(4, int(width / 7))), "middle", "row-name")
        for number, label in enumerate(across)
        if number % every == 0
    ]
    parts += [
        row_label(canvas, top + height * (number + 0.5) + 4, ", ".join(labels)) for number, labels in enumerate(down)
    ]
    for point in grid.points:
        x = canvas.row_name + width * across.index(point.labels[-1])
        y = top + height * down.index(tuple(point.labels[:-1]))
        parts.append(_cell(point.chain, values[point.chain], min(known), max(known), x, y, width, height))
    return plot(canvas, top + height * len(down) + 6, f"{what} of every chain along the sweep's axes", parts)


def points_chart(canvas: Canvas, rows: Sequence[PointCost], unit: str) -> Markup:
    """Draw score over hours; the line joins the chains that no cheaper one matches."""
    if len(rows) < 2:
        return Markup("")
    hours, scores = [row.hours for row in rows], [100 * row.score for row in rows]
    across, scale = Scale(*padded(min(hours), max(hours), 0.08), canvas.left, canvas.right), upright(scores, 40, 232)
    across = Scale(max(0.0, across.low), across.high, across.start, across.end)
    parts = [grid_lines(canvas, scale, ""), text(canvas.left, 16, "mean score, %", "start", "axis-name")]
    parts.append(
        columns(across, [(tick, f"{tick:,g}") for tick in ticks(across.low, across.high, canvas.ticks)], 232, 232)
    )
    parts.append(text(canvas.right, 264, unit, "end", "axis-name"))
    front = [(across(row.hours), scale(100 * row.score)) for row in rows if row.is_best_so_far]
    parts.append(polyline(front, "line front", "no cheaper chain scores as high"))
    dot = Markup('<circle class="seed series-0{}" cx="{:.1f}" cy="{:.1f}" r="5"><title>{}</title></circle>')
    for row in rows:
        said = f"{row.chain}: {percent(row.score)} % for {significant(row.hours)} {unit}"
        x, y = across(row.hours), scale(100 * row.score)
        parts.append(dot.format("" if row.is_best_so_far else " behind", x, y, said))
        if row.is_best_so_far and len(front) <= 8:
            anchor = "end" if x > canvas.width * 0.6 else "start"
            parts.append(text(x + (-8 if anchor == "end" else 8), y - 7, canvas.row(row.chain), anchor, "row-name"))
    return plot(canvas, 270, "mean score of every chain against its hours", parts)


def _cell(
    chain: str, value: float | None, low: float, high: float, x: float, y: float, width: float, height: float
) -> Markup:
    if value is None:
        return rectangle(x + 1, y + 1, width - 2, height - 2, "cell unknown", f"{chain}: unknown")
    shade = round((value - low) / (high - low) * (SHADES - 1)) if high > low else SHADES // 2
    cell = rectangle(x + 1, y + 1, width - 2, height - 2, f"cell shade-{shade}", f"{chain}: {significant(value)}")
    return (
        cell
        if width < ROOM_FOR_VALUE
        else cell + text(x + width / 2, y + height / 2 + 4, significant(value), "middle", f"in-shade-{shade}")
    )


def _score_row(canvas: Canvas, name: str, colour: int, scores: TaskScores, across: Scale, y: float) -> Markup:
    parts = [row_label(canvas, y + 4, name)]
    classes = f"series-{colour % SERIES}"
    if scores.mean is not None and scores.standard_deviation is not None:
        ends = [across(scores.mean + sign * scores.standard_deviation) for sign in (-1, 1)]
        whisker = Markup('<line class="whisker {}" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(whisker.format(classes, *ends, y=y))
    if scores.mean is not None:
        bar = Markup('<line class="mean {}" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"><title>mean {}</title></line>')
        parts.append(bar.format(classes, y - 9, y + 9, percent(scores.mean), x=across(scores.mean)))
    dot = Markup('<circle class="seed {}" cx="{:.1f}" cy="{}" r="3.5"><title>seed {}: {}</title></circle>')
    parts += [
        dot.format(classes, across(value), y, seed, percent(value))
        for seed, value in scores.by_seed.items()
        if value is not None
    ]
    return Markup("").join(parts)
