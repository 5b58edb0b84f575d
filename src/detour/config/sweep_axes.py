"""The axes of a sweep as sequences of changes to a recipe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from detour.config.layers import by_name
from detour.config.sweep_file import SEED_AXIS, TRAINING_SEED, Axis, SweepFile
from detour.config.yaml_source import Node, describe, to_plain


@dataclass(frozen=True)
class Point:
    """One step along an axis (or a group of axes that advance together)."""

    labels: Mapping[str, str]
    changes: tuple[tuple[str, Node], ...]
    recipe: Node | None = None
    """Another recipe file, as written."""

    @cached_property
    def leaves(self) -> Mapping[str, Any]:
        """The dotted keys that its changes set, with their values. A null removes, and sets nothing."""
        return {inner: plain for key, value in self.changes for inner, plain in leaves(key, value)}


def leaves(key: str, node: Node) -> Iterator[tuple[str, Any]]:
    if named := node.mapping or by_name(node.items):
        for name, child in named.items():
            yield from leaves(f"{key}.{name}", child)
    elif node.value is not None:
        yield key, to_plain(node)


def axis_points(file: SweepFile, tree: Node) -> dict[str, list[Point]]:
    axes = {name: _points(name, axis, tree.mapping["axes"].mapping[name]) for name, axis in file.axes.items()}
    if file.seeds:
        values = tree.mapping["seeds"].items
        axes[SEED_AXIS] = [
            Point({SEED_AXIS: str(seed)}, ((TRAINING_SEED, node),))
            for seed, node in zip(file.seeds, values, strict=True)
        ]
    return axes


def zipped(file: SweepFile, axes: Mapping[str, Sequence[Point]]) -> list[tuple[Point, ...]]:
    """Return the points of each axis; zipped axes form one sequence, in the place of the first of them."""
    groups = {name: group for group in file.zip for name in group}
    return [
        tuple(map(_together, zip(*(axes[member] for member in groups.get(name, (name,))), strict=True)))
        for name in axes
        if name == groups.get(name, (name,))[0]
    ]


def _together(points: Sequence[Point]) -> Point:
    labels = {axis: label for point in points for axis, label in point.labels.items()}
    recipe = next((point.recipe for point in points if point.recipe), None)
    return Point(labels, tuple(change for point in points for change in point.changes), recipe)


def _points(name: str, axis: Axis, node: Node) -> list[Point]:
    if axis.cases is not None:
        cases = node.mapping["cases"].mapping
        return [_case(name, label, cases[label]) for label in axis.cases]
    assert axis.key is not None
    key = node.mapping["key"].position
    values = [replace(value, named_at=key) for value in node.mapping["values"].items]
    labels = axis.labels or [label_of(value.value, index) for index, value in enumerate(values)]
    return [Point({name: label}, ((axis.key, value),)) for label, value in zip(labels, values, strict=True)]


def _case(axis: str, label: str, node: Node) -> Point:
    changes = tuple((key, value) for key, value in node.mapping.items() if key != "recipe")
    return Point({axis: label}, changes, node.mapping.get("recipe"))


def label_of(value: object, index: int = 0) -> str:
    """Return a scalar as written, reduced to characters allowed in names; otherwise its index."""
    if isinstance(value, dict | list | tuple):
        return str(index)
    text = value if isinstance(value, str) else describe(value)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text) or str(index)
