"""Arrange the chains of a sweep along its axes; pure.

The axes are derived from the plans: settings that differ among the chains, with those that always change together as
one axis. So the sweep file is not needed, which may have changed since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detour.planning.plan import Plan
from detour.planning.stage import PrepareStage, PretrainStage
from detour.text import format_count

MOST_AXES = 3
LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    """Setting that changes along it."""
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Point:
    chain: str
    labels: list[str]
    """One label per axis."""


@dataclass(frozen=True, slots=True)
class Grid:
    axes: list[Axis]
    """Axes, that with the most labels last."""
    points: list[Point]


def grid_of(plans: Sequence[Plan]) -> Grid | None:
    """Return the grid, None if fewer than two chains differ, or along more axes than a page can show."""
    settings = {plan.chain: dict(_settings(plan)) for plan in plans}
    keys = dict.fromkeys(key for of_chain in settings.values() for key in of_chain)
    columns = {key: [_label(of_chain.get(key)) for of_chain in settings.values()] for key in keys}
    varying = {key: column for key, column in columns.items() if len(set(column)) > 1}
    axes: list[tuple[str, list[str]]] = []
    for key in sorted(
        varying, key=lambda key: (-len(set(varying[key])), "none" in varying[key], _length(varying[key]))
    ):
        if not any(_determines(known, varying[key]) for _, known in axes):
            axes.append((key, varying[key]))
    if not axes or len(axes) > MOST_AXES or max(_length(column) for _, column in axes) > LONGEST_LABEL:
        return None
    axes.reverse()
    points = [Point(chain, [column[row] for _, column in axes]) for row, chain in enumerate(settings)]
    return Grid([Axis(key, list(dict.fromkeys(column))) for key, column in axes], points)


def _settings(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Yield the settings of the trainings and the corpus by key, which begins with the number of the phase."""
    phases = [stage for stage in plan.stages if isinstance(stage, PretrainStage)]
    for number, training in enumerate(phases, 1):
        yield from _flat(f"phase {number}", training.settings.to_json())
        yield f"phase {number} tokens", training.runtime.tokens
    for stage in plan.stages:
        if isinstance(stage, PrepareStage):
            yield "corpus", ", ".join(source.source.name for source in stage.settings.used)


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(f"{name} {key}" if key not in ("phase", "value") else name, below)
    else:
        yield name, value


def _label(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, int) and value >= 1000:
        return format_count(value)
    if isinstance(value, list):
        return ", ".join(_part(one) for one in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _part(value: Any) -> str:
    """Format a part of a list: layers 0 to 7 are `0-7`."""
    bounds = value.values() if isinstance(value, Mapping) else (value,)
    return "-".join(str(bound) for bound in bounds if not isinstance(bound, bool))


def _length(column: Sequence[str]) -> int:
    return max(map(len, column))


def _determines(column: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the labels of one column determine those of the other, which is then not an axis of its own."""
    found: dict[str, str] = {}
    return all(found.setdefault(label, mine) == mine for label, mine in zip(column, other, strict=True))
