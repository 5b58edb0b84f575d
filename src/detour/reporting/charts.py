"""The report's plots as inline SVG: no script, no external resource, colours from the page's style sheet.

Every text is escaped by `Markup.format`. Coordinates are in the viewBox; the page scales it to its width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from math import ceil, floor, isfinite, log10

from markupsafe import Markup

from detour.accounting.fates import Fates
from detour.reporting.data import Chain, Curve, Phase, TaskScores
from detour.reporting.words import objective, percent
from detour.text import format_count

WIDTH = 720.0
LEFT, RIGHT = 54.0, 12.0
SERIES = 6
"""Colours in the style sheet; chains beyond take them again."""
POINTS = 400
"""Drawn a curve; more would be finer than a pixel."""


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
    """Round values (1, 2 or 5 times a power of ten) inside [low, high]."""
    span = high - low
    if not isfinite(span) or span <= 0:
        return [low]
    rough = span / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(index * step, 12) for index in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def thinned(curve: Curve, most: int = POINTS) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of its neighbours; the last one is kept as it is."""
    points = list(zip(curve.x, curve.y, strict=True))
    if len(points) <= most:
        return points
    size = ceil((len(points) - 1) / (most - 1))
    buckets = [points[start : min(start + size, len(points) - 1)] for start in range(0, len(points) - 1, size)]
    means = [(sum(x for x, _ in bucket) / len(bucket), sum(y for _, y in bucket) / len(bucket)) for bucket in buckets]
    return [*means, points[-1]]


def training_chart(chain: Chain, colour: int) -> Markup:
    """Loss above learning rate, the phases one after the other along the tokens; empty when nothing was recorded."""
    if not any(phase.curves.get("loss") for phase in chain.phases):
        return Markup("")
    starts, end = _phase_starts(chain.phases)
    across = Scale(0.0, end, LEFT, WIDTH - RIGHT)
    losses = [value for phase in chain.phases for value in _losses(phase)]
    rates = [value for phase in chain.phases if "lr" in phase.curves for value in phase.curves["lr"].y]
    top, middle, bottom = 22.0, 212.0, 292.0
    parts = [_phase_marks(chain.phases, starts, end, across, top, bottom if rates else middle)]
    upright = _upright(losses, top, middle)
    parts.append(_grid(upright, "loss (nats)"))
    rate_scale = _upright([0.0, *rates], middle + 26, bottom)
    if rates:
        parts.append(_grid(rate_scale, "learning rate", wanted=2))
    for phase, start in zip(chain.phases, starts, strict=True):
        parts.append(_line(phase.curves.get("loss"), start, across, upright, f"line series-{colour % SERIES}"))
        parts.append(_validation(phase, start, across, upright, colour))
        if rates:
            parts.append(_line(phase.curves.get("lr"), start, across, rate_scale, "line rate"))
    foot = bottom if rates else middle
    parts.append(_token_axis(across, end, foot))
    label = f"{chain.name}: training loss and learning rate along the tokens"
    return _svg(WIDTH, foot + 38, label, parts)


def score_chart(task: str, chains: Sequence[tuple[str, int, TaskScores]]) -> Markup:
    """Every seed a dot, the mean a bar with its standard deviation; one row a chain: (name, colour, scores)."""
    rows = [(name, colour, scores) for name, colour, scores in chains if any(_known(scores))]
    values = [value for _, _, scores in rows for value in _known(scores)]
    if not values:
        return Markup("")
    reach = [
        scores.mean + sign * (scores.standard_deviation or 0.0)
        for _, _, scores in rows
        if scores.mean
        for sign in (-1, 1)
    ]
    low, high = _padded(min([*values, *reach]), max([*values, *reach]), 0.15)
    low, high = max(0.0, low), min(1.0, high)
    across = Scale(low, high, 190.0, WIDTH - RIGHT)
    foot = 14.0 + 34.0 * len(rows)
    parts = []
    for tick in ticks(low, high, 6):
        x = across(tick)
        parts.append(Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="8" y2="{1:.1f}"/>').format(x, foot))
        parts.append(_text(x, foot + 16, percent(tick), "middle"))
    for row, (name, colour, scores) in enumerate(rows):
        parts.append(_score_row(name, colour, scores, across, 25.0 + 34.0 * row))
    return _svg(WIDTH, foot + 24, f"{task}: test scores by chain and seed", parts)


def fate_bar(fates: Fates) -> Markup:
    """What became of the allocated time, as shares of one bar."""
    allocated = fates.allocated
    if allocated <= 0:
        return Markup("")
    parts, x = [], 0.0
    for part in fields(fates):
        share = getattr(fates, part.name) / allocated
        rectangle = (
            '<rect class="fate-{}" x="{:.2f}" y="0" width="{:.2f}" height="16"><title>{}: {:.1f} %</title></rect>'
        )
        parts.append(Markup(rectangle).format(part.name, x, share * WIDTH, part.name, 100 * share))
        x += share * WIDTH
    return _svg(WIDTH, 16, "what became of the allocated time", parts, stretched=True)


def _phase_starts(phases: Sequence[Phase]) -> tuple[list[float], float]:
    """Where each phase begins on the common axis, and where the last one ends."""
    starts, x = [], 0.0
    for phase in phases:
        starts.append(x)
        seen = [curve.x[-1] for curve in phase.curves.values()]
        x += max([float(phase.tokens or 0), *seen])
    return starts, x


def _losses(phase: Phase) -> list[float]:
    drawn = [value for name in ("loss", "validation_loss") if name in phase.curves for value in phase.curves[name].y]
    return drawn + [value for value in (phase.validation_loss, phase.parent_validation_loss) if value is not None]


def _phase_marks(
    phases: Sequence[Phase], starts: Sequence[float], end: float, across: Scale, top: float, bottom: float
) -> Markup:
    parts = []
    for phase, start, stop in zip(phases, starts, [*starts[1:], end], strict=True):
        if start:
            line = Markup('<line class="phase" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>')
            parts.append(line.format(across(start), top - 8, bottom))
        wide = across(stop) - across(start) > 150
        label = f"{phase.name}: {objective(phase)}" if wide else phase.name
        parts.append(_text(across(start) + 5, top - 8, label, "start", "phase-name"))
    return Markup("").join(parts)


def _validation(phase: Phase, start: float, across: Scale, upright: Scale, colour: int) -> Markup:
    """Hollow dots: during the training, of the starting weights, and of the promoted checkpoint."""
    points = []
    if curve := phase.curves.get("validation_loss"):
        points += list(zip(curve.x, curve.y, strict=True))
    if phase.parent_validation_loss is not None:
        points.append((0.0, phase.parent_validation_loss))
    if phase.validation_loss is not None and phase.tokens:
        points.append((float(phase.tokens), phase.validation_loss))
    dot = Markup('<circle class="validation series-{}" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}</title></circle>')
    return Markup("").join(
        dot.format(colour % SERIES, across(start + x), upright(y), f"validation loss {y:.4f} at {format_count(int(x))}")
        for x, y in points
    )


def _score_row(name: str, colour: int, scores: TaskScores, across: Scale, y: float) -> Markup:
    parts = [_text(180, y + 4, name if len(name) <= 26 else name[:25] + "…", "end", "row-name")]
    series = f"series-{colour % SERIES}"
    if scores.mean is not None and scores.standard_deviation is not None:
        ends = [across(scores.mean + sign * scores.standard_deviation) for sign in (-1, 1)]
        whisker = Markup('<line class="whisker {}" x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(whisker.format(series, *ends, y=y))
    if scores.mean is not None:
        bar = Markup('<line class="mean {}" x1="{x:.1f}" x2="{x:.1f}" y1="{}" y2="{}"><title>mean {}</title></line>')
        parts.append(bar.format(series, y - 9, y + 9, percent(scores.mean), x=across(scores.mean)))
    dot = Markup('<circle class="seed {}" cx="{:.1f}" cy="{}" r="3.5"><title>seed {}: {}</title></circle>')
    parts += [
        dot.format(series, across(value), y, seed, percent(value))
        for seed, value in scores.by_seed.items()
        if value is not None
    ]
    return Markup("").join(parts)


def _known(scores: TaskScores) -> list[float]:
    return [value for value in scores.by_seed.values() if value is not None]


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    margin = (high - low) * share or abs(high) * 0.05 or 0.5
    return low - margin, high + margin


def _upright(values: Sequence[float], top: float, bottom: float) -> Scale:
    low, high = _padded(min(values), max(values), 0.06)
    return Scale(max(low, 0.0) if min(values) >= 0 else low, high, bottom, top)


def _grid(scale: Scale, label: str, wanted: int = 5) -> Markup:
    line = Markup('<line class="grid" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts = [_text(WIDTH - RIGHT, scale.end - 6, label, "end", "axis-name")]
    for tick in ticks(scale.low, scale.high, wanted):
        y = scale(tick)
        parts.append(line.format(LEFT, WIDTH - RIGHT, y=y))
        parts.append(_text(LEFT - 6, y + 4, f"{tick:g}", "end"))
    return Markup("").join(parts)


def _token_axis(across: Scale, end: float, foot: float) -> Markup:
    labels = [_text(across(tick), foot + 16, format_count(int(tick)), "middle") for tick in ticks(0.0, end, 6)]
    return Markup("").join([*labels, _text(WIDTH - RIGHT, foot + 32, "tokens", "end", "axis-name")])


def _line(curve: Curve | None, start: float, across: Scale, upright: Scale, classes: str) -> Markup:
    if curve is None:
        return Markup("")
    points = " ".join(f"{across(start + x):.1f},{upright(y):.1f}" for x, y in thinned(curve))
    return Markup('<polyline class="{}" points="{}"/>').format(classes, points)


def _text(x: float, y: float, content: str, anchor: str, classes: str = "tick") -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        classes, x, y, anchor, content
    )


def _svg(width: float, height: float, label: str, parts: Iterable[Markup], stretched: bool = False) -> Markup:
    ratio = Markup(' preserveAspectRatio="none"') if stretched else Markup("")
    head = Markup('<svg class="{}" viewBox="0 0 {:g} {:g}" role="img" aria-label="{}"{}>')
    opened = head.format("bar" if stretched else "plot", width, height, label, ratio)
    return Markup("").join([opened, *parts, Markup("</svg>")])
