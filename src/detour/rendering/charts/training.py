"""Chart of the loss over tokens: phases in sequence, chains overlaid, and shared stages once."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from detour.rendering.charts.svg import (
    Canvas,
    Scale,
    columns,
    grid_lines,
    plot,
    polyline,
    series,
    text,
    ticks,
    upright,
)
from detour.rendering.words import objective
from detour.reporting.curves import POINTS, thinned
from detour.reporting.data import Chain, Curve, Phase
from detour.text import format_count

ALL_POINTS = 6000
"""Maximum number of points of all curves together; many curves are drawn more coarsely."""


def training_chart(canvas: Canvas, chains: Sequence[Chain]) -> Markup:
    """Draw the losses, for a single chain with learning rate and validation losses; empty if nothing was recorded."""
    drawn = [chain for chain in chains if any(phase.curves.get("loss") for phase in chain.phases)]
    if not drawn:
        return Markup("")
    alone = drawn[0] if len(chains) == 1 else None
    end = max(_starts(chain.phases)[1] for chain in drawn)
    across = Scale(0.0, end, canvas.left, canvas.right)
    losses = [value for chain in drawn for phase in chain.phases for value in _losses(phase, alone is not None)]
    rates = [value for phase in (alone.phases if alone else ()) if (lr := phase.curves.get("lr")) for value in lr.y]
    top, middle, bottom = 22.0, 232.0, 312.0
    foot = bottom if rates else middle
    scale, rate_scale = upright(losses, top, middle), upright([0.0, *rates], middle + 26, bottom)
    parts = [grid_lines(canvas, scale, ""), text(canvas.right, top + 12, "loss (nats)", "end", "axis-name")]
    if rates:
        parts.append(grid_lines(canvas, rate_scale, "learning rate", wanted=2))
    if alone:
        parts.append(_phase_marks(alone.phases, across, top, foot))
    parts += _curves(canvas, drawn, across, scale)
    if alone:
        for phase, start in zip(alone.phases, _starts(alone.phases)[0], strict=True):
            parts.append(_validation(phase, start, across, scale))
            parts.append(
                _line(phase.curves.get("lr"), start, across, rate_scale, "line rate", int(POINTS * canvas.detail))
            )
    parts.append(
        columns(across, [(tick, format_count(int(tick))) for tick in ticks(0.0, end, canvas.ticks)], foot, foot)
    )
    parts.append(text(canvas.right, foot + 32, "tokens", "end", "axis-name"))
    who = alone.name if alone else f"{len(drawn)} chains"
    return plot(canvas, foot + 38, f"{who}: training loss along the tokens", parts)


def _curves(canvas: Canvas, chains: Sequence[Chain], across: Scale, scale: Scale) -> list[Markup]:
    """Draw each training once, under its first chain."""
    seen: set[str] = set()
    distinct = {phase.stage for chain in chains for phase in chain.phases}
    most = int(canvas.detail * min(POINTS, max(20, ALL_POINTS // len(distinct))))
    parts = []
    for index, chain in enumerate(chains):
        for phase, start in zip(chain.phases, _starts(chain.phases)[0], strict=True):
            if phase.stage not in seen:
                seen.add(phase.stage)
                name = f"{chain.name}: {phase.name}"
                parts.append(_line(phase.curves.get("loss"), start, across, scale, f"line {series(index)}", most, name))
    return parts


def _starts(phases: Sequence[Phase]) -> tuple[list[float], float]:
    """Return where each phase begins on the common axis, and where the last one ends."""
    starts, x = [], 0.0
    for phase in phases:
        starts.append(x)
        seen = [curve.x[-1] for curve in phase.curves.values()]
        x += max([float(phase.tokens or 0), *seen])
    return starts, x


def _losses(phase: Phase, with_validation: bool) -> list[float]:
    names = ("loss", "validation_loss") if with_validation else ("loss",)
    drawn = [value for name in names if name in phase.curves for value in phase.curves[name].y]
    if not with_validation:
        return drawn
    return drawn + [value for value in (phase.validation_loss, phase.parent_validation_loss) if value is not None]


def _phase_marks(phases: Sequence[Phase], across: Scale, top: float, bottom: float) -> Markup:
    starts, end = _starts(phases)
    parts = []
    for phase, start, stop in zip(phases, starts, [*starts[1:], end], strict=True):
        if start:
            line = Markup('<line class="phase" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>')
            parts.append(line.format(across(start), top - 8, bottom))
        wide = across(stop) - across(start) > 150
        label = f"{phase.name}: {objective(phase)}" if wide else phase.name
        parts.append(text(across(start) + 5, top - 8, label, "start", "phase-name"))
    return Markup("").join(parts)


def _validation(phase: Phase, start: float, across: Scale, scale: Scale) -> Markup:
    """Draw hollow dots: during the training, for the initial weights, and for the promoted checkpoint."""
    points = []
    if curve := phase.curves.get("validation_loss"):
        points += list(zip(curve.x, curve.y, strict=True))
    if phase.parent_validation_loss is not None:
        points.append((0.0, phase.parent_validation_loss))
    if phase.validation_loss is not None and phase.tokens:
        points.append((float(phase.tokens), phase.validation_loss))
    dot = Markup('<circle class="validation series-0" cx="{:.1f}" cy="{:.1f}" r="3.5"><title>{}</title></circle>')
    return Markup("").join(
        dot.format(across(start + x), scale(y), f"validation loss {y:.4f} at {format_count(int(x))}") for x, y in points
    )


def _line(
    curve: Curve | None, start: float, across: Scale, scale: Scale, classes: str, most: int, title: str = ""
) -> Markup:
    if curve is None:
        return Markup("")
    return polyline([(across(start + x), scale(y)) for x, y in thinned(curve, most)], classes, title)
