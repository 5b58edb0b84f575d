"""Expand a sweep into its recipes, in time linear in their number.

Changes are merged into the recipe's tree axis by axis, so chains that begin alike share the tree up to that point.
Only the sub-trees that a change touches are validated, each distinct one once. Chains therefore share the model objects
of their common parts, which planning relies on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from detour.config.layers import merge, removals_of_nothing
from detour.config.loading import finished_tree, recipe_tree
from detour.config.models import Phase, Recipe
from detour.config.overrides import set_value
from detour.config.problems import Position, Problem, RecipeError, similar_file
from detour.config.roots import find_named, names_in
from detour.config.sweep import Sweep
from detour.config.sweep_axes import Point, label_of
from detour.config.sweep_conflicts import refuse_hidden_by_index
from detour.config.validation import unknown_nulls, validate
from detour.config.yaml_source import Node, to_plain
from detour.paths import written_path
from detour.text import suggestion

MAX_CHAINS = 100_000
MAX_PROBLEMS = 20
REWRITTEN = ("benchmark", "data", "model", "tokenizer")
"""Sections whose file names are resolved after a change."""


def expand(sweep: Sweep) -> list[Recipe]:
    """Return one recipe per chain, with unique names, in the order of the axes; the last axis varies fastest.

    A chain that several sweeps contain with the same name and content is returned once. Raises RecipeError with every
    distinct problem (up to 20), each at the line of the sweep or recipe that holds the value.
    """
    recipes: dict[str, Recipe] = {}
    _expand(sweep, _Builder(), recipes)
    return list(recipes.values())


def _expand(sweep: Sweep, builder: _Builder, recipes: dict[str, Recipe]) -> None:
    problems: dict[Problem, None] = {}
    own: set[str] = set()
    if sweep.file.recipe is not None or sweep.axes:
        _refuse_too_many(sweep)
        excluded = _exclusions(sweep)
        for labels, recipe_name, tree in _walk(sweep, builder):
            if any(all(labels[axis] in wanted for axis, wanted in rule.items()) for rule in excluded):
                continue
            name = sweep.chain_name(labels, recipe_name)
            if name in own:
                message = f"two chains are called {name}: the template must distinguish all axes"
                raise RecipeError([sweep.problem(("names",), message)])
            own.add(name)
            _add(sweep, builder, recipes, problems, name, tree)
            if len(problems) >= MAX_PROBLEMS:
                break
        if not own:
            raise RecipeError([sweep.problem(("exclude",), "leaves out every chain")])
    if problems:
        raise RecipeError(problems)
    for other in sweep.sweeps:
        _expand(other, builder, recipes)


def _add(
    sweep: Sweep,
    builder: _Builder,
    recipes: dict[str, Recipe],
    problems: dict[Problem, None],
    name: str,
    tree: Node,
) -> None:
    try:
        recipe = builder.build(tree, name, sweep)
    except RecipeError as error:
        problems.update(dict.fromkeys(error.problems))
        return
    if recipes.setdefault(name, recipe) != recipe:
        message = f"the chain {name} is in another sweep too, with other settings: rename one"
        problems[sweep.problem(("names",), message)] = None


def _refuse_too_many(sweep: Sweep) -> None:
    chains = 1
    for axis in sweep.axes:
        chains *= len(axis)
    if chains > MAX_CHAINS:
        message = f"the axes multiply to {chains:,} chains; at most {MAX_CHAINS:,} are expanded"
        raise RecipeError([sweep.problem(("axes",), message)])


def _exclusions(sweep: Sweep) -> list[Mapping[str, set[str]]]:
    """Return axis -> labels for each rule. Raises RecipeError if an axis has no such label."""
    known: dict[str, set[str]] = {}
    for name, label in (pair for axis in sweep.axes for point in axis for pair in point.labels.items()):
        known.setdefault(name, set()).add(label)
    rules: list[Mapping[str, set[str]]] = []
    problems = []
    for index, rule in enumerate(sweep.file.exclude):
        wanted = {
            axis: {label_of(value) for value in (values if isinstance(values, list | tuple) else [values])}
            for axis, values in rule.items()
        }
        for axis, labels in wanted.items():
            message = (
                f"the axis has no {', '.join(sorted(labels - known[axis]))}; it has {', '.join(sorted(known[axis]))}"
            )
            if labels - known[axis]:
                problems.append(sweep.problem(("exclude", index, axis), message))
        rules.append(wanted)
    if problems:
        raise RecipeError(problems)
    return rules


def _walk(sweep: Sweep, builder: _Builder) -> Iterator[tuple[Mapping[str, str], str, Node]]:
    """Yield labels, base recipe name and changed tree of every combination, including excluded ones."""

    def started(written: object, position: Position | None = None) -> _Base:
        found = builder.base(sweep, written, position)
        refuse_hidden_by_index(sweep.axes, sweep.overrides, sweep.path, found.tree)
        return found

    base = started(sweep.file.recipe) if sweep.file.recipe is not None else None

    def below(depth: int, labels: Mapping[str, str], start: _Base | None, tree: Node | None) -> Iterator[Any]:
        if depth == len(sweep.axes):
            assert start is not None
            yield labels, start.name, tree
            return
        for point in sweep.axes[depth]:
            here, changed = start, tree
            if point.recipe is not None:
                here = started(point.recipe.value, point.recipe.position)
                changed = here.tree
            assert here is not None
            assert changed is not None
            yield from below(depth + 1, {**labels, **point.labels}, here, _changed(changed, point, sweep, here.tree))

    return below(0, {}, base, base.tree if base else None)


def _changed(tree: Node, point: Point, sweep: Sweep, base: Node) -> Node:
    """Return the tree with a point's changes merged in. Raises RecipeError if a path does not exist, with a hint if it
    did in the recipe `base`.
    """
    problems: list[Problem] = []
    rewrite = False
    for key, value in point.changes:
        missing: list[Problem] = []
        tree = set_value(tree, key, value, missing, _merged)
        problems += map(_renamed, missing) if missing and _exists(base, key, value) else missing
        rewrite = rewrite or key.partition(".")[0] in REWRITTEN
    if rewrite:
        tree = finished_tree(tree, sweep.path, problems)
    if problems:
        raise RecipeError(problems)
    return tree


def _exists(base: Node, key: str, value: Node) -> bool:
    missing: list[Problem] = []
    set_value(base, key, value, missing, _merged)
    return not missing


def _merged(below: Node, above: Node) -> Node:
    for problem in removals_of_nothing(below, above):
        raise ValueError(problem.message)
    return merge(below, above)


def _renamed(problem: Problem) -> Problem:
    hint = "another axis renames or removes it, and axes apply in the order written: write this one above it"
    return replace(problem, message=f"{problem.message.partition(';')[0]}: {hint}")


@dataclass(frozen=True, slots=True)
class _Base:
    name: str
    tree: Node


class _UnknownNull(Exception):
    """A null key that does not exist."""


@dataclass(slots=True)
class _Builder:
    """Validates each sub-tree once, caching the models by node and by content."""

    bases: dict[Path, _Base] = field(default_factory=dict)
    by_node: dict[tuple[str, Node], Any] = field(default_factory=dict)
    by_content: dict[tuple[str, str], Any] = field(default_factory=dict)
    adapters: dict[str, TypeAdapter[Any]] = field(default_factory=dict)

    def base(self, sweep: Sweep, written: object, position: Position | None = None) -> _Base:
        """Return the recipe that chains start from, read and validated once."""
        where = position or sweep.problem(("recipe",), "").position
        if not isinstance(written, str):
            raise RecipeError([Problem(where, "recipe", "expected the name of a recipe file")])
        path = Path(where.file).parent / written_path(written)
        is_name = "/" not in written
        if is_name and not path.is_file():
            path = find_named("recipes", written, path) or path
        key = path.resolve()
        if key not in self.bases:
            if not path.is_file():
                names = names_in("recipes", path) if is_name else []
                hint = similar_file(path) or suggestion(written, names)
                raise RecipeError([Problem(where, "recipe", f"no such file: {written}{hint}")])
            tree, problems = recipe_tree(path, sweep.overrides)
            self.bases[key] = _Base(validate(Recipe, tree, problems).name, tree)
        return self.bases[key]

    def build(self, tree: Node, name: str, sweep: Sweep) -> Recipe:
        known = Recipe.model_fields
        if all(node.value is not None or key in known for key, node in tree.mapping.items()):
            with suppress(ValidationError, _UnknownNull):
                fields = {key: self._field(key, node) for key, node in tree.mapping.items() if node.value is not None}
                return Recipe.model_validate({**fields, "name": name})
        named = replace(tree, value={**tree.mapping, "name": Node(sweep.problem(("names",), "").position, name)})
        return validate(Recipe, named)

    def _field(self, key: str, node: Node) -> Any:
        """Return the validated section: the same object for the same node or equal content."""
        if (key, node) not in self.by_node:
            self.by_node[key, node] = self._validated(key, node)
        return self.by_node[key, node]

    def _validated(self, key: str, node: Node) -> Any:
        if key == "phases" and isinstance(node.value, list):
            return tuple(self._field("phases.", item) for item in node.value)
        if isinstance(node.value, str | int | float) or not (key in Recipe.model_fields or key == "phases."):
            return to_plain(node)
        if any(unknown_nulls(Recipe, node, ("phases", 0) if key == "phases." else (key,))):
            raise _UnknownNull
        plain = to_plain(node)
        content = (key, json.dumps(plain, sort_keys=True))
        if content not in self.by_content:
            self.by_content[content] = self._adapter(key).validate_python(plain)
        return self.by_content[content]

    def _adapter(self, key: str) -> TypeAdapter[Any]:
        if key not in self.adapters:
            wanted: Any = Phase if key == "phases." else Recipe.model_fields[key].annotation
            self.adapters[key] = TypeAdapter(wanted)
        return self.adapters[key]
