"""Combine several files into one document: `extends` and `${VAR}`.

Every value keeps its position in the file that it comes from.

- `extends: other.yaml` is relative to the file, or else a shipped file. Mappings merge deeply, lists of named items
  (phases, sources, tasks) merge by `name`, other lists are replaced, and null removes. An extending file may also write
  a list of named items as a mapping from name to changes: `phases: {clm: {tokens: 2B}, decay: null}`.
- `${VAR}` and `${VAR:-default}` are substituted in any string; `$${` stands for a literal `${`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from detour.config.problems import Position, Problem, RecipeError, shown
from detour.config.roots import SHIPPED
from detour.config.yaml_source import Node, describe, read_yaml, resolve_scalar
from detour.paths import written_path
from detour.text import nearest_name, suggestion

MAX_EXTENDS = 10
KINDS = ("recipes", "sweeps", "clusters")
"""Folders of shipped files that can be extended by name."""
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{[^}]*\}?")

Transform = Callable[[Node, Path, list[Problem]], Node]
"""What a kind of document does to each of its files before they are merged, such as reading the files it names."""


def read_layers(path: Path, transform: Transform | None = None) -> tuple[Node, list[Problem]]:
    """Return the document at `path`, merged over everything it extends, and the problems found."""
    problems: list[Problem] = []
    return _read_layer(path, transform, problems, ()), problems


def _read_layer(path: Path, transform: Transform | None, problems: list[Problem], chain: tuple[Path, ...]) -> Node:
    node, found = read_yaml(path)
    problems += found
    node = _fill_variables(node, problems)
    own = dict(node.mapping)
    parent = own.pop("extends", None)
    node = replace(node, value=own)
    if transform is not None:
        node = transform(node, path, problems)
    if parent is None:
        return node
    if not isinstance(parent.value, str) or not parent.value.strip():
        found_value = describe(parent.value)
        problems.append(Problem(parent.position, "extends", f"expected the name of one YAML file, found {found_value}"))
        return node
    target = parent_path(path, parent.value)
    chain = (*chain, path)
    _refuse_bad_chain(target, chain, parent.position)
    try:
        below = _read_layer(target, transform, problems, chain)
    except RecipeError as error:
        raise RecipeError([*problems, *(_blamed(problem, target, parent) for problem in error.problems)]) from error
    problems += removals_of_nothing(below, node)
    return merge(below, node)


def parent_path(path: Path, written: str) -> Path:
    """Return the path of `other.yaml` next to the file, or else as shipped; a bare name stands for `name.yaml`."""
    expanded = written_path(written)
    if not expanded.name or "/" in written:
        return path.parent / expanded
    if not expanded.suffix:
        expanded = expanded.with_suffix(".yaml")
    beside = path.parent / expanded
    shipped = () if beside.exists() else (SHIPPED / kind / expanded for kind in KINDS)
    return next((file for file in shipped if file.is_file()), beside)


def _refuse_bad_chain(target: Path, chain: Sequence[Path], position: Position) -> None:
    seen = [ancestor.resolve() for ancestor in chain]
    route = " -> ".join(shown(step) for step in (*chain, target))
    if target.resolve() in seen:
        raise RecipeError([Problem(position, "extends", f"goes round in a circle: {route}")])
    if len(chain) >= MAX_EXTENDS:
        message = f"more than {MAX_EXTENDS} files extend one another: {route}"
        raise RecipeError([Problem(position, "extends", message)])


def _blamed(problem: Problem, target: Path, parent: Node) -> Problem:
    """Report a missing parent at the place that names it."""
    what, missing, hint = problem.message.partition("no such file")
    if problem.position == Position(shown(target)) and missing and not what:
        hint = hint or _similar_shipped(str(parent.value))
        return Problem(parent.position, "extends", f"{missing}: {problem.position.file}{hint}")
    return problem


def _similar_shipped(written: str) -> str:
    names = [file.stem for kind in KINDS for file in (SHIPPED / kind).glob("*.yaml")]
    similar = nearest_name(written.removesuffix(".yaml"), names)
    return f"; did you mean `{similar}`?" if similar else ""


def merge(below: Node, above: Node) -> Node:
    """Merge `above` over `below`; values that `above` does not mention stay."""
    if above.whole:
        return above
    if above.value is None:
        return replace(above, whole=True)
    if isinstance(below.value, dict) and isinstance(above.value, dict):
        merged = dict(below.value)
        for key, child in above.value.items():
            merged[key] = merge(merged[key], child) if key in merged else child
        return replace(above, value=merged)
    if isinstance(below.value, list) and isinstance(above.value, dict | list):
        named = by_name(below.value)
        changes = above.value if isinstance(above.value, dict) else by_name(above.value)
        if named is not None and changes is not None:
            return replace(above, value=_merge_named(named, changes))
    return above


def removals_of_nothing(below: Node, above: Node, key: str = "") -> Iterator[Problem]:
    """Find the nulls in `above` that remove no item of the lists in `below`, which `merge` passes over."""
    named = by_name(below.items) or {}
    for name, child in above.mapping.items():
        if isinstance(below.value, list) and child.value is None and name not in named:
            yield Problem(child.position, key, f"no item `{name}`{suggestion(name, list(named))}")
        elif found := (below.mapping or named).get(name):
            yield from removals_of_nothing(found, child, f"{key}.{name}".lstrip("."))


def _merge_named(named: Mapping[str, Node], changes: Mapping[str, Node]) -> list[Node]:
    """Apply changes by name: items keep their order, new ones come last, null removes. A change may rename an item."""
    merged = dict(named)
    for name, change in changes.items():
        if name in merged:
            merged[name] = merge(merged[name], change)
        elif isinstance(change.value, dict):
            given = Node(change.position, name)
            merged[name] = replace(change, value={"name": given, **change.value})
        else:
            merged[name] = change
    return [item for item in merged.values() if item.value is not None]


def by_name(items: Sequence[Node]) -> dict[str, Node] | None:
    """Return the items by name, or None unless every item has a unique name."""
    named: dict[str, Node] = {}
    for item in items:
        if item.name is None or item.name in named:
            return None
        named[item.name] = item
    return named


def _fill_variables(node: Node, problems: list[Problem], path: str = "") -> Node:
    """Substitute every `${VAR}` in every string; a missing variable is a problem at its position."""
    below = f"{path}." if path else ""
    if isinstance(node.value, dict):
        filled = {key: _fill_variables(child, problems, below + key) for key, child in node.value.items()}
        return replace(node, value=filled)
    if isinstance(node.value, list):
        items = enumerate(node.value)
        return replace(node, value=[_fill_variables(child, problems, f"{below}{index}") for index, child in items])
    if not isinstance(node.value, str) or "${" not in node.value:
        return node

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            message = (
                f"`{match[0]}` is not a variable: write ${{NAME}} or ${{NAME:-default}} (and $${{ for a plain ${{)"
            )
            problems.append(Problem(node.position, path, message))
            return match[0]
        value = os.environ.get(match[1]) or match[2]
        if value is None:
            message = f"the environment variable {match[1]} is not set: set it, or write ${{{match[1]}:-default}}"
            problems.append(Problem(node.position, path, message))
            return match[0]
        return value

    text = _VARIABLE.sub(fill, node.value)
    return replace(node, value=resolve_scalar(text) if node.plain else text)
