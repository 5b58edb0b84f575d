"""Refuses keys of a sweep that replace each other unseen: chains would be named for values that they do not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate, combinations
from pathlib import Path

from detour.config.overrides import named_key
from detour.config.problems import COMMAND_LINE, Problem, RecipeError, shown
from detour.config.sweep_axes import Point, leaves
from detour.config.sweep_file import SweepFile
from detour.config.yaml_source import Node, parse_value

NAME_IT = "write the item's name instead of its index"


def refuse_hidden_overrides(overrides: Sequence[str], axes: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Refuse to override a key that an axis sets, as the axis would win."""
    set_by = {key: axis for axis, points in axes.items() for point in points for key in point.leaves}
    problems = []
    for key in (key for override in overrides for key in _keys_overridden(override)):
        if axis := next((set_by[part] for part in _from_the_top(key) if part in set_by), None):
            message = f"the axis `{axis}` of {shown(path)} sets it: change it there, or leave the override out"
            problems.append(Problem(COMMAND_LINE, key, message))
    if problems:
        raise RecipeError(problems)


def refuse_hidden_by_index(axes: Sequence[Sequence[Point]], overrides: Sequence[str], path: Path, base: Node) -> None:
    """Refuse keys that address an item by its index while an axis sets the same key by the item's name, or the reverse:
    one would replace the other unseen. `base` is the recipe that the chains start from, whose items these are.
    """
    changes = [change for axis in axes for point in axis for change in point.changes]
    set_by_axes: dict[str, str] = {}
    problems = []
    for key, node in changes:
        for inner, _ in leaves(key, node):
            if (other := set_by_axes.setdefault(named_key(base, inner), inner)) != inner:
                problems.append(Problem(node.named_at or node.position, key, f"another axis sets {other}: {NAME_IT}"))
    for key in (key for override in overrides for key in _keys_overridden(override)):
        above = [set_by_axes[part] for part in _from_the_top(named_key(base, key)) if part in set_by_axes]
        if hidden := next((one for one in above if one not in _from_the_top(key)), None):
            problems.append(Problem(COMMAND_LINE, key, f"an axis of {shown(path)} sets {hidden}: {NAME_IT}"))
    if problems:
        raise RecipeError(problems)


def refuse_hidden_changes(file: SweepFile, axes: Mapping[str, Sequence[Point]]) -> None:
    """Refuse changes that a later axis replaces in every chain, and values that chains are named for and do not have.

    `axes` are in the order in which they are applied. Cases may replace each other.
    """
    named = [name for name in axes if name not in file.axes or file.axes[name].cases is None]
    set_by = {name: {key for point in points for key in point.leaves} for name, points in axes.items()}
    problems = [
        Problem(node.named_at or node.position, key, "chains have the names that `names` gives them: remove it")
        for points in axes.values()
        for point in points
        for key, node in point.changes
        if key == "name"
    ]
    for (name, points), (later, others) in combinations(axes.items(), 2):
        hidden = {key: part for key in set_by[name] for part in _from_the_top(key) if part in set_by[later]}
        if name in named:
            problems += _set_twice(others, set(hidden.values()), name)
        elif later in named:
            problems += _set_twice(points, hidden.keys(), later)
    if problems:
        raise RecipeError(problems)


def _set_twice(points: Sequence[Point], keys: AbstractSet[str], other: str) -> Iterator[Problem]:
    for point in points:
        for changed, node in point.changes:
            for key in keys & {inner for inner, _ in leaves(changed, node)}:
                yield Problem(node.position, key, f"the axis `{other}` sets it too, in every chain: keep one of them")


def _keys_overridden(override: str) -> list[str]:
    key, _, written = override.partition("=")
    key = key.strip()
    try:
        return [inner for inner, _ in leaves(key, parse_value(written))] or [key]
    except ValueError:  # said where it is applied
        return [key]


def _from_the_top(key: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c` of `a.b.c`."""
    return accumulate(key.split("."), "{}.{}".format)
