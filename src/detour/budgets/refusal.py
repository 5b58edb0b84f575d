"""The message of a refusal: which caps the submission exceeds, by how much, and which of its stages would fit."""

from __future__ import annotations

from collections.abc import Sequence

from detour.budgets.arithmetic import UNITS, Line, fitting
from detour.budgets.book import Demand
from detour.text import counted, stage_names, wrapped


def refusal(caps: Sequence[Line], demand: Demand) -> str:
    """Return the arithmetic of every cap that the submission exceeds, then what would fit into all caps."""
    text = [line for cap in caps if cap.is_refused for line in _arithmetic(cap)]
    text += by_default(caps, demand)
    names = {stage.id: stage.name for stage in demand.stages}
    inputs = {stage.id: tuple(stage.inputs.values()) for stage in demand.stages}
    if fits := fitting(caps, demand.amounts, inputs):
        what = stage_names([names[stage] for stage in fits])
        text += wrapped(f"{len(fits)} of {len(demand.amounts)} stages would fit: {what}", "")
    else:
        text.append("No stage of it would fit.")
    text.append("Ask for less, wait until reserved hours are freed, or give a reason with --over-budget (recorded).")
    return "\n".join(text)


def by_default(caps: Sequence[Line], demand: Demand) -> list[str]:
    """Explain a large request: stages of unknown duration count by their default time limits."""
    measures = {cap.measure for cap in caps}
    number = sum(any(demand.amounts[stage].get(measure) for measure in measures) for stage in demand.unpriced)
    if not number:
        return []
    stages = f"{counted(number, 'stage')} of unknown duration {'counts' if number == 1 else 'count'}"
    return wrapped(f"{stages} by default time limits; once a chain has run here, its durations are used instead", "")


def _arithmetic(cap: Line) -> list[str]:
    unit, places, sums = UNITS[cap.measure], cap.places, cap.rounded()
    assert cap.hard is not None
    rows = [("spent", sums.spent), ("reserved", sums.reserved), ("asked", sums.asked), ("sum", sums.after)]
    text = [f"over budget {cap.budget}, in {unit}:"]
    text += [f"  {name:<9} {value:>14,.{places}f}" for name, value in rows]
    over = sums.after - round(cap.hard, places)
    text.append(f"  {'cap':<9} {cap.hard:>14,.{places}f}" + (f"   {over:,.{places}f} too much" if over > 0 else ""))
    if cap.unknown:
        text.append(f"  the {unit} of {counted(cap.unknown, 'stage')} are unknown, so the cap cannot be checked")
    return text
