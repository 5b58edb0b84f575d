"""The energy of a part of an attempt, for reports of a period. Pure.

Energy is taken as drawn evenly, apart from that of GPUs by their readings. A part has the PUE and grid factor of its
own months and hours, so the parts of adjacent periods add up to the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import fsum, inf

from detour.accounting.attempts import figures_of
from detour.accounting.energy import EnergyFigure, Method
from detour.accounting.hours import AttemptUsage
from detour.accounting.measured import drawn_by
from detour.accounting.periods import Drawn, over
from detour.accounting.traces import Spans
from detour.ledger.state import AttemptState
from detour.site import Site


def figures_within(
    part: AttemptUsage, *, attempt: AttemptState, whole: AttemptUsage, site: Site, spans: Spans
) -> list[EnergyFigure]:
    """Return one figure per method, as `figures_of`; `part` is the usage of the `whole` attempt between two instants.

    What seems to be drawn outside of the attempt, because clocks differ, belongs to its first or last part.
    """
    figures = figures_of(attempt, whole, site, spans)
    if part == whole:
        return figures
    time_share = part.allocated_s / whole.allocated_s if whole.allocated_s else 1.0
    start_s = -inf if part.start_s == whole.start_s else part.start_s
    end_s = inf if part.end_s == whole.end_s else part.end_s
    found = []
    for figure in figures:
        drawn = _drawn(figure, attempt, whole, spans)
        inside = _between(drawn, start_s, end_s)
        total = _sum(drawn)
        of_part = _scaled(figure, time_share, _sum(inside) / total if total else time_share)
        found.append(of_part._replace(site=over(site, inside or drawn)))
    return found


def _scaled(figure: EnergyFigure, time_share: float, energy_share: float) -> EnergyFigure:
    energy = figure.it_energy_kwh
    return figure._replace(
        it_energy_kwh=None if energy is None else energy * energy_share,
        allocated_s=figure.allocated_s * time_share,
        covered_s=figure.covered_s * time_share,
        extended_s=figure.extended_s * time_share,
    )


def _drawn(figure: EnergyFigure, attempt: AttemptState, whole: AttemptUsage, spans: Spans) -> list[Drawn]:
    if figure.method is Method.MEASURED and figure.it_energy_kwh is not None:
        return drawn_by(list(attempt.readings.values()), whole, figure.it_energy_kwh, spans)
    return [(whole.start_s, whole.end_s, 1.0)]


def _sum(drawn: Iterable[Drawn]) -> float:
    return fsum(amount for *_, amount in drawn)


def _between(drawn: Iterable[Drawn], start_s: float, end_s: float) -> list[Drawn]:
    """Return the parts of spans between two instants; a span of no length belongs to the time that it begins."""
    inside = []
    for from_s, to_s, amount in drawn:
        if from_s == to_s and start_s <= from_s < end_s:
            inside.append((from_s, to_s, amount))
        first_s, last_s = max(from_s, start_s), min(to_s, end_s)
        if first_s < last_s:
            inside.append((first_s, last_s, amount * (last_s - first_s) / (to_s - from_s)))
    return inside
