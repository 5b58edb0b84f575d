"""Training curves from progress records; steps retrained after a kill replace the lost ones."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from statistics import median
from typing import TYPE_CHECKING

from detour.accounting.methods import number
from detour.reporting.data import Curve

if TYPE_CHECKING:
    from detour.ledger.events import ProgressMade
    from detour.ledger.record import Entry

POINTS = 400
"""Maximum number of points drawn per curve; more would be finer than a pixel."""
FIGURES = ("loss", "lr", "validation_loss", "gradient_norm", "tokens_per_s")


def curves_of(progress: Iterable[Entry[ProgressMade]]) -> dict[str, Curve]:
    """Return a stage's curves by figure. Each attempt overwrites earlier ones from the point where it resumed."""
    points: dict[str, list[tuple[float, float]]] = {figure: [] for figure in FIGURES}
    unit, current = "", -1
    for entry in sorted(progress, key=lambda one: (one.attempt or 0, one.sequence)):
        event = entry.event
        if entry.attempt != current:
            current = entry.attempt or 0
            points = {figure: [point for point in known if point[0] < event.done] for figure, known in points.items()}
        unit = event.unit
        for figure, text in event.figures.items():
            if figure in points and (value := number(text)) is not None:
                points[figure].append((float(event.done), value))
    return {
        figure: Curve(figure, unit, [x for x, _ in known], [y for _, y in known])
        for figure, known in points.items()
        if known
    }


def median_of(curve: Curve | None) -> float | None:
    return median(curve.y) if curve and curve.y else None


def thinned(curve: Curve, most: int = POINTS) -> list[tuple[float, float]]:
    """Reduce a curve to at most `most` points, each a mean of neighbouring ones, except the last point."""
    points = list(zip(curve.x, curve.y, strict=True))
    if len(points) <= most:
        return points
    size = ceil((len(points) - 1) / (most - 1))
    buckets = [points[start : min(start + size, len(points) - 1)] for start in range(0, len(points) - 1, size)]
    means = [(sum(x for x, _ in bucket) / len(bucket), sum(y for _, y in bucket) / len(bucket)) for bucket in buckets]
    return [*means, points[-1]]
