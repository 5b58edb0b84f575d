"""A sweep: a recipe and axes of changes, expanded into one recipe per chain, with readable names.

    name: decay-lengths
    recipe: ../recipes/moderncamembert-bio-base.yaml
    names: "{recipe}-{arm}-decay-{decay}"
    axes:
      arm: {cases: {clm: {}, mlm: {phases.clm: {objective: masked, masking_rate: 0.3}}}}
      decay: {key: phases.mlm.tokens, values: [0.25B, 1B, 2B]}

All combinations of all axes are run, except those in `exclude`; axes grouped by `zip` advance together. Changes merge
into the recipe as an extending file would; the key `recipe` in a case names another recipe file. `sweeps` includes the
chains of other sweeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, combinations
from pathlib import Path
from string import Formatter
from typing import Any

from pydantic import Field, model_validator

from detour.config.fields import Name, Seed, Written, repeated
from detour.config.layers import by_name, read_layers
from detour.config.overrides import named_key
from detour.config.problems import COMMAND_LINE, Inconsistent, KeyPath, Problem, RecipeError, shown, similar_file
from detour.config.validation import place, validate
from detour.config.yaml_source import Node, describe, parse_value, to_plain
from detour.paths import written_path
from detour.text import suggestion

MAX_SWEEPS = 10
SEED_AXIS = "seed"
TRAINING_SEED = "seeds.training"
NAME_IT = "write the item's name instead of its index"


class Axis(Written):
    """One key with its values, or named cases of several changes each."""

    key: str | None = None
    """Dotted, as on the command line: `phases.mlm.tokens`."""
    values: tuple[Any, ...] | None = Field(default=None, min_length=1)
    labels: tuple[str, ...] | None = None
    """Labels of the values in names; by default the values as written."""
    cases: dict[str, dict[str, Any]] | None = Field(default=None, min_length=1)
    """Label -> dotted key -> value."""

    @model_validator(mode="after")
    def _one_form(self) -> Axis:
        if (self.cases is None) == (self.key is None and self.values is None):
            raise ValueError("give either `key` and `values`, or `cases`")
        if self.cases is None and (self.key is None or self.values is None):
            raise ValueError("`key` and `values` go together")
        if self.labels is not None and len(self.labels) != len(self.values or ()):
            raise Inconsistent([(("labels",), f"{len(self.labels)} labels for {len(self.values or ())} values")])
        return self


class SweepFile(Written):
    """The content of a sweep file."""

    name: Name
    description: str = ""
    recipe: str | None = None
    """The recipe that all chains start from, relative to the file that names it."""
    names: str | None = None
    """Template of the chains' names, with axes, `recipe` and `sweep` in braces; by default the sweep and all axes."""
    axes: dict[str, Axis] = Field(default={})
    zip: tuple[tuple[str, ...], ...] = ()
    """Groups of axes that advance together."""
    exclude: tuple[dict[str, Any], ...] = ()
    """Axis -> label (or list of labels); combinations that match every axis of an item are left out."""
    seeds: tuple[Seed, ...] = ()
    """Training seeds: an additional axis, `seed`."""
    sweeps: tuple[str, ...] = ()
    """Other sweep files whose chains belong to this one too."""

    @model_validator(mode="after")
    def _axes_are_there(self) -> SweepFile:
        problems = repeated("seeds", self.seeds)
        problems += _keys_of_two_axes(self)
        known = {name: len(axis.values or axis.cases or ()) for name, axis in self.axes.items()}
        if self.seeds:
            known[SEED_AXIS] = len(self.seeds)
        grouped: list[str] = []
        for index, group in enumerate(self.zip):
            problems += _unknown_axes(known, group, ("zip", index))
            lengths = {name: known[name] for name in group if name in known}
            if len(set(lengths.values())) > 1:
                lengths_by_axis = ", ".join(f"{name} has {length}" for name, length in lengths.items())
                problems.append((("zip", index), f"axes that advance together need as many values: {lengths_by_axis}"))
            for name in group:
                if name in grouped:
                    problems.append((("zip", index), f"`{name}` appears twice: an axis belongs to one group"))
                grouped.append(name)
        for index, excluded in enumerate(self.exclude):
            problems += _unknown_axes(known, excluded, ("exclude", index))
        if SEED_AXIS in self.axes and self.seeds:
            problems.append((("seeds",), "there is an axis `seed` too: keep one"))
        if problems:
            raise Inconsistent(problems)
        return self


def _keys_of_two_axes(file: SweepFile) -> list[tuple[KeyPath, str]]:
    """Find keys that two axes give values: the chains would be named for both, and have the values of one."""
    places: list[tuple[KeyPath, str]] = [
        (("axes", name, "key"), axis.key) for name, axis in file.axes.items() if axis.key
    ]
    if file.seeds:
        places.append((("seeds",), TRAINING_SEED))
    keys = [key for _, key in places]
    return [
        (at, f"another axis sets `{key}` too: keep one of them")
        for index, (at, key) in enumerate(places)
        if key in keys[:index]
    ]


def _unknown_axes(known: Mapping[str, int], names: Iterable[str], at: KeyPath) -> list[tuple[KeyPath, str]]:
    return [(at, f"no axis `{name}`{suggestion(name, list(known))}") for name in names if name not in known]


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
        return {inner: plain for key, value in self.changes for inner, plain in _leaves(key, value)}


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as read; `expand` makes its recipes."""

    path: Path
    file: SweepFile
    tree: Node
    axes: tuple[tuple[Point, ...], ...]
    """One sequence of points per axis or group, those that choose the recipe first."""
    overrides: tuple[str, ...]
    """`key=value` overrides from the command line, applied to every recipe."""
    sweeps: tuple[Sweep, ...]

    @property
    def name(self) -> str:
        return self.file.name

    def chain_name(self, labels: Mapping[str, str], recipe: str) -> str:
        """Return the name of the chain with these labels by axis; an axis may be called `recipe` or `sweep` too."""
        if self.file.names is None:
            axes = [*self.file.axes, SEED_AXIS] if self.file.seeds else [*self.file.axes]
            return "-".join([self.name, *(labels[axis] for axis in axes)]).lower()
        words = {"recipe": recipe, "sweep": self.name, **labels}
        parts = Formatter().parse(self.file.names)
        return "".join(text + (words[field] if field else "") for text, field, _, _ in parts).lower()

    def problem(self, path: KeyPath, message: str) -> Problem:
        return Problem(*place(self.tree, path), message)


def is_sweep(path: Path) -> bool:
    """Whether a file, with what it extends, is a sweep. Raises RecipeError if it cannot be read."""
    root, _ = read_layers(path)
    return not {"axes", "sweeps", "recipe"}.isdisjoint(root.mapping)


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Load the sweep at `path`, whose recipes `expand` reads and checks. Raises RecipeError (exit code 2)."""
    return _load(path, tuple(overrides), ())


def _load(path: Path, overrides: tuple[str, ...], chain: tuple[Path, ...]) -> Sweep:
    tree, problems = read_layers(path)
    file = validate(SweepFile, tree, problems)
    _check(file, tree)
    others = []
    for index, name in enumerate(file.sweeps):
        where = place(tree, ("sweeps", index))
        other = Path(where[0].file).parent / written_path(name)
        route = (*chain, path, other)
        if other.resolve() in [step.resolve() for step in route[:-1]] or len(route) > MAX_SWEEPS:
            way = " -> ".join(shown(step) for step in route)
            raise RecipeError([Problem(*where, f"goes round in a circle: {way}")])
        if not other.exists():
            raise RecipeError([Problem(*where, f"no such file: {name}{similar_file(other)}")])
        others.append(_load(other, overrides, (*chain, path)))
    axes = _axis_points(file, tree)
    _refuse_hidden_overrides(overrides, axes, path)
    points = _groups(file, axes)
    points.sort(key=lambda axis: not any(point.recipe for point in axis))
    _refuse_hidden_changes(file, {name: axes[name] for group in points for name in group[0].labels})
    return Sweep(path, file, tree, tuple(points), overrides, tuple(others))


def _check(file: SweepFile, tree: Node) -> None:
    """Check what the model cannot: the template, the labels, and that there is a recipe to start from."""
    problems = []
    known = [*file.axes, "recipe", "sweep", *([SEED_AXIS] if file.seeds else [])]
    try:
        used = [
            (field, form or kind) for _, field, form, kind in Formatter().parse(file.names or "") if field is not None
        ]
        said = [f"`{{{field}}}` is not an axis{suggestion(field, known)}" for field, _ in used if field not in known]
        said += [f"a format of `{field}` has no meaning here: write `{{{field}}}`" for field, form in used if form]
    except ValueError as error:
        said = [f"is not a template: {error}"]
    problems += [Problem(*place(tree, ("names",)), message) for message in said]
    switches = [
        name for name, axis in file.axes.items() if any("recipe" in case for case in (axis.cases or {}).values())
    ]
    if len(switches) > 1:
        problems.append(Problem(*place(tree, ("axes", switches[1])), f"`{switches[0]}` already chooses the recipe"))
    whole = any(all("recipe" in case for case in (file.axes[name].cases or {}).values()) for name in switches)
    if file.recipe is None and not whole and (file.axes or file.seeds or not file.sweeps):
        problems.append(Problem(*place(tree, ()), "recipe: is missing: name the file that the chains start from"))
    problems += _repeated_labels(file, tree)
    problems += _empty_axes(tree)
    if problems:
        raise RecipeError(problems)


def _empty_axes(tree: Node) -> Iterator[Problem]:
    """Find axes and cases of nothing, which would be left out unseen; a null that removes one is meant."""
    for name, axis in _below(tree, "axes").items():
        if axis.value is None and not axis.whole:
            yield Problem(*place(tree, ("axes", name)), "is empty: write `key` and `values`, or `cases`")
        for label, case in _below(axis, "cases").items():
            if case.value is None and not case.whole:
                where = place(tree, ("axes", name, "cases", label))
                yield Problem(*where, "is empty: write `{}` for a case without changes")


def _below(node: Node, key: str) -> Mapping[str, Node]:
    child = node.mapping.get(key)
    return child.mapping if child else {}


def _refuse_hidden_overrides(overrides: Sequence[str], axes: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Refuse to override a key that an axis sets, as the axis would win."""
    set_by = {key: axis for axis, points in axes.items() for point in points for key in point.leaves}
    problems = []
    for key in (key for override in overrides for key in _keys_overridden(override)):
        if axis := next((set_by[part] for part in _from_the_top(key) if part in set_by), None):
            message = f"the axis `{axis}` of {shown(path)} sets it: change it there, or leave the override out"
            problems.append(Problem(COMMAND_LINE, key, message))
    if problems:
        raise RecipeError(problems)


def refuse_hidden_by_index(sweep: Sweep, base: Node) -> None:
    """Refuse keys that address an item by its index while an axis sets the same key by the item's name, or the reverse:
    one would replace the other unseen. `base` is the recipe that the chains start from, whose items these are.
    """
    changes = [change for axis in sweep.axes for point in axis for change in point.changes]
    set_by_axes: dict[str, str] = {}
    problems = []
    for key, node in changes:
        for inner, _ in _leaves(key, node):
            if (other := set_by_axes.setdefault(named_key(base, inner), inner)) != inner:
                problems.append(Problem(node.named_at or node.position, key, f"another axis sets {other}: {NAME_IT}"))
    for key in (key for override in sweep.overrides for key in _keys_overridden(override)):
        above = [set_by_axes[part] for part in _from_the_top(named_key(base, key)) if part in set_by_axes]
        if hidden := next((one for one in above if one not in _from_the_top(key)), None):
            problems.append(Problem(COMMAND_LINE, key, f"an axis of {shown(sweep.path)} sets {hidden}: {NAME_IT}"))
    if problems:
        raise RecipeError(problems)


def _keys_overridden(override: str) -> list[str]:
    key, _, written = override.partition("=")
    key = key.strip()
    try:
        return [inner for inner, _ in _leaves(key, parse_value(written))] or [key]
    except ValueError:  # said where it is applied
        return [key]


def _refuse_hidden_changes(file: SweepFile, axes: Mapping[str, Sequence[Point]]) -> None:
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
            for key in keys & {inner for inner, _ in _leaves(changed, node)}:
                yield Problem(node.position, key, f"the axis `{other}` sets it too, in every chain: keep one of them")


def _from_the_top(key: str) -> Iterator[str]:
    """`a`, `a.b`, `a.b.c` of `a.b.c`."""
    return accumulate(key.split("."), "{}.{}".format)


def _leaves(key: str, node: Node) -> Iterator[tuple[str, Any]]:
    if named := node.mapping or by_name(node.items):
        for name, child in named.items():
            yield from _leaves(f"{key}.{name}", child)
    elif node.value is not None:
        yield key, to_plain(node)


def _repeated_labels(file: SweepFile, tree: Node) -> list[Problem]:
    """Find labels that an ungrouped axis repeats; in a group, another axis may distinguish the chains."""
    together = {name for group in file.zip for name in group}
    problems = []
    for name, axis in file.axes.items():
        if axis.values is None or name in together:
            continue
        labels = [label.lower() for label in axis.labels or map(label_of, axis.values, range(len(axis.values)))]
        written = "labels" if axis.labels else "values"
        problems += [
            Problem(*place(tree, ("axes", name, written, index)), f"`{label}` appears twice: give `labels` that differ")
            for index, label in enumerate(labels)
            if label in labels[:index]
        ]
    return problems


def _axis_points(file: SweepFile, tree: Node) -> dict[str, list[Point]]:
    axes = {name: _points(name, axis, tree.mapping["axes"].mapping[name]) for name, axis in file.axes.items()}
    if file.seeds:
        values = tree.mapping["seeds"].items
        axes[SEED_AXIS] = [
            Point({SEED_AXIS: str(seed)}, ((TRAINING_SEED, node),))
            for seed, node in zip(file.seeds, values, strict=True)
        ]
    return axes


def _groups(file: SweepFile, axes: Mapping[str, Sequence[Point]]) -> list[tuple[Point, ...]]:
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
