"""Drawing primitives: inline SVG without scripts or external resources, coloured by the page's style sheet.

All text is escaped by `Markup.format`. Coordinates are in the viewBox, which the page scales to its width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor, isfinite, log10

from markupsafe import Markup

from detour.text import cells, cut
from detour.times import local, zone_of

SERIES = 6
"""Number of colours in the style sheet; further series reuse them, dashed."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The room that a chart has, in units of about a pixel. The page shows the one that fits its reader's screen."""

    name: str
    """CSS class of its charts."""
    width: float
    left: float
    """Room for the values of a vertical axis."""
    row_name: float
    """Room for the names of rows."""
    letters: int
    """Number of letters that fit there."""
    ticks: int
    detail: float = 1.0
    """Share of a curve's points worth drawing."""

    @property
    def right(self) -> float:
        return self.width - 12.0

    def row(self, name: str) -> str:
        """Cut a name in the middle if it is too long: names of chains often differ only at their ends."""
        half = self.letters // 2
        return name if cells(name) <= self.letters else cut(name, half + 1) + cut(name[::-1], half)[-2::-1]


WIDE = Canvas("wide", 720.0, 54.0, 190.0, 28, 6)
NARROW = Canvas("narrow", 340.0, 40.0, 112.0, 15, 4, 0.4)
"""For phones, where a wide chart would be too small to read."""
CANVASES = (WIDE, NARROW)


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values to coordinates."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        width = self.high - self.low
        return (
            self.start + (value - self.low) / width * (self.end - self.start) if width else (self.start + self.end) / 2
        )


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round values (1, 2 or 5 times a power of ten) in [low, high]."""
    span = high - low
    if not isfinite(span) or span <= 0:
        return [low]
    rough = span / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(index * step, 12) for index in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def days(low_s: float, high_s: float, time_zone: str = "UTC", wanted: int = 5) -> list[tuple[float, str]]:
    """Return labelled instants for a time axis: whole days, or times of day if it is short."""
    span = high_s - low_s
    if span < 2 * 86_400:
        step = next((h * 3600.0 for h in (1 / 60, 1 / 12, 1 / 4, 1, 3, 6, 12) if span / (h * 3600) <= wanted), 86_400.0)
        pattern = "%H:%M"
    else:
        step = next((d * 86_400.0 for d in (1, 2, 7, 14, 28, 91, 182) if span / (d * 86_400) <= wanted), 364 * 86_400.0)
        pattern = "%-d %b" if span < 300 * 86_400 else "%b %Y"
    first, last = (local(at_s, time_zone).replace(tzinfo=UTC).timestamp() / step for at_s in (low_s, high_s))
    shown = [datetime.fromtimestamp(index * step, UTC) for index in range(ceil(first), floor(last) + 1)][: 4 * wanted]
    zone = zone_of(time_zone)
    return [(at.replace(tzinfo=zone).timestamp(), at.strftime(pattern)) for at in shown]


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    margin = (high - low) * share or abs(high) * 0.05 or 0.5
    return low - margin, high + margin


def upright(values: Sequence[float], top: float, bottom: float) -> Scale:
    """Return a vertical scale for the values, which goes below zero only if a value does."""
    low, high = padded(min(values), max(values), 0.06)
    return Scale(max(low, 0.0) if min(values) >= 0 else low, high, bottom, top)


def series(index: int) -> str:
    """Return the CSS classes of a series: its colour, and dashes once colours are reused."""
    turn = index // SERIES
    return f"series-{index % SERIES}" + (f" dash-{min(turn, 3)}" if turn else "")


def grid_lines(canvas: Canvas, scale: Scale, label: str, wanted: int = 5) -> Markup:
    """Draw horizontal lines with their values, and the axis's name above them."""
    line = Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts = [text(canvas.right, scale.end - 6, label, "end", "axis-name")]
    for tick in ticks(scale.low, scale.high, wanted):
        y = scale(tick)
        parts.append(line.format(canvas.left, canvas.right, y=y))
        parts.append(text(canvas.left - 6, y + 4, f"{tick:,g}", "end"))
    return Markup("").join(parts)


def columns(across: Scale, marks: Iterable[tuple[float, str]], top: float, foot: float) -> Markup:
    """Draw vertical lines with their labels below."""
    line = Markup('<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"/>')
    parts = []
    for value, label in marks:
        x = across(value)
        parts += [line.format(top, foot, x=x), text(x, foot + 16, label, "middle")]
    return Markup("").join(parts)


def polyline(points: Iterable[tuple[float, float]], classes: str, title: str = "") -> Markup:
    """Draw a line; a single point becomes a dot, with a round end and a wider stroke."""
    listed = list(points)
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (listed * 2 if len(listed) == 1 else listed))
    named = Markup("<title>{}</title>").format(title) if title else Markup("")
    written = f"{classes} lone" if len(listed) == 1 else classes
    return Markup('<polyline class="{}" points="{}">{}</polyline>').format(written, drawn, named)


def rectangle(x: float, y: float, width: float, height: float, classes: str, title: str) -> Markup:
    return Markup(
        '<rect class="{}" x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}"><title>{}</title></rect>'
    ).format(classes, x, y, max(width, 0.0), height, title)


def text(x: float, y: float, content: str, anchor: str, classes: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        classes, x, y, anchor, content
    )


def row_label(canvas: Canvas, y: float, name: str, classes: str = "row-name") -> Markup:
    """Return the name of a row, to the left of the plot."""
    return text(canvas.row_name - 10, y, canvas.row(name), "end", classes)


def left_out(canvas: Canvas, y: float, which: str, drawn: int, of: int) -> list[Markup]:
    """Return the remark of a plot that does not show all rows of its table."""
    remark = f"{which} {drawn} of {of}; the table has all"
    return [text(canvas.right, y, remark, "end", "axis-name")] if drawn < of else []


def plot(canvas: Canvas, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """Return the whole picture; `label` describes it to screen readers."""
    head = Markup('<svg class="plot {}" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}"><title>{}</title>')
    return Markup("").join([head.format(canvas.name, canvas.width, height, label, label), *parts, Markup("</svg>")])
