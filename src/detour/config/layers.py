"""Combine several documents into one: `extends`, `${VAR}`, files named by reference, command-line overrides.

Every value keeps its position in the file (or on the command line) that it comes from.

- `extends: other.yaml` is relative to the file. Mappings merge deeply, lists of named items (phases, sources, tasks)
  merge by `name`, other lists are replaced, and null removes. An extending file may also write a list of named items as
  a mapping from name to changes: `phases: {clm: {tokens: 2B}, decay: null}`.
- `${VAR}` and `${VAR:-default}` are substituted in any string; `$${` stands for a literal `${`.
- `a.b.c=value` overrides a value. List items are addressed by name or index; null removes an item, and a mapping under
  a new name adds one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from detour.config.problems import COMMAND_LINE, Position, Problem, RecipeError, shown
from detour.config.yaml_source import Node, describe, parse_value, read_yaml, resolve_scalar
from detour.files import written_path

MAX_EXTENDS = 10
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{[^}]*\}?")

Transform = Callable[[Node, Path, list[Problem]], Node]
"""What a kind of document does to each of its files before they are merged, such as reading the files it names."""


def keep(node: Node, file: Path, problems: list[Problem]) -> Node:
    """Change nothing: the identity transform."""
    del file, problems
    return node


def read_layers(path: Path, transform: Transform, environment: Mapping[str, str]) -> tuple[Node, list[Problem]]:
    """Return the document at `path`, merged over everything it extends, and the problems found."""
    problems: list[Problem] = []
    return _read_layer(path, transform, environment, problems, ()), problems


def _read_layer(
    path: Path, transform: Transform, environment: Mapping[str, str], problems: list[Problem], chain: tuple[Path, ...]
) -> Node:
    node, found = read_yaml(path)
    problems += found
    node = fill_variables(node, environment, problems)
    assert isinstance(node.value, dict)
    own = dict(node.value)
    parent = own.pop("extends", None)
    node = transform(replace(node, value=own), path, problems)
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
        below = _read_layer(target, transform, environment, problems, chain)
    except RecipeError as error:
        raise RecipeError([*problems, *(_blamed(problem, target, parent) for problem in error.problems)]) from error
    return merge(below, node)


def parent_path(path: Path, written: str) -> Path:
    """Return the path of `other.yaml` next to the file; a bare name stands for `name.yaml`."""
    expanded = written_path(written)
    if expanded.name and not expanded.suffix and "/" not in written:
        expanded = expanded.with_suffix(".yaml")
    return path.parent / expanded


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
    if problem.position == Position(shown(target)) and problem.message == "no such file":
        similar = get_close_matches(target.name, [p.name for p in target.parent.glob("*.yaml")], 1)
        hint = f"; did you mean {similar[0]}?" if similar else ""
        return Problem(parent.position, "extends", f"no such file: {problem.position.file}{hint}")
    return problem


def merge(below: Node, above: Node) -> Node:
    """Merge `above` over `below`; values that `above` does not mention stay."""
    if above.whole or above.value is None:
        return above
    if isinstance(below.value, dict) and isinstance(above.value, dict):
        merged = dict(below.value)
        for key, child in above.value.items():
            merged[key] = merge(merged[key], child) if key in merged else child
        return replace(above, value=merged)
    if isinstance(below.value, list) and isinstance(above.value, dict | list):
        named = _named(below.value)
        changes = above.value if isinstance(above.value, dict) else _named(above.value)
        if named is not None and changes is not None:
            return replace(above, value=_merge_named(named, changes))
    return above


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


def _named(items: Sequence[Node]) -> dict[str, Node] | None:
    """Return the items by name, or None unless every item has a unique name."""
    named: dict[str, Node] = {}
    for item in items:
        name = item.value.get("name") if isinstance(item.value, dict) else None
        if name is None or not isinstance(name.value, str) or name.value in named:
            return None
        named[name.value] = item
    return named


def fill_variables(node: Node, environment: Mapping[str, str], problems: list[Problem], path: str = "") -> Node:
    """Substitute every `${VAR}` in every string; a missing variable is a problem at its position."""
    if isinstance(node.value, dict):
        below = f"{path}." if path else ""
        filled = {k: fill_variables(child, environment, problems, below + k) for k, child in node.value.items()}
        return replace(node, value=filled)
    if isinstance(node.value, list):
        below = f"{path}." if path else ""
        items = enumerate(node.value)
        return replace(node, value=[fill_variables(c, environment, problems, f"{below}{i}") for i, c in items])
    if not isinstance(node.value, str) or "${" not in node.value:
        return node

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            message = f"`{match[0]}` is no variable: write ${{NAME}} or ${{NAME:-default}} (and $${{ for a plain ${{)"
            problems.append(Problem(node.position, path, message))
            return match[0]
        value = environment.get(match[1]) or match[2]
        if value is None:
            message = f"the environment variable {match[1]} is not set: set it, or write ${{{match[1]}:-default}}"
            problems.append(Problem(node.position, path, message))
            return match[0]
        return value

    text = _VARIABLE.sub(fill, node.value)
    return replace(node, value=resolve_scalar(text) if node.plain else text)


def find_named(folder: str, name: str, beside: Path | None = None) -> tuple[Path | None, list[str]]:
    """Find `configs/<folder>/<name>.yaml` in the nearest `configs` above `beside`, in `./configs`, then as shipped.

    Returns the file, or None with the names that exist.
    """
    known: set[str] = set()
    for root in config_roots(beside):
        candidate = root / folder / f"{name}.yaml"
        if os.path.isfile(candidate):  # noqa: PTH113 - a name too long for a file is unknown, not an error
            return candidate, []
        known.update(path.stem for path in (root / folder).glob("*.yaml"))
    return None, sorted(known)


def config_roots(beside: Path | None = None) -> list[Path]:
    """Return the folders that hold `recipes`, `benchmarks`, `clusters`..., nearest first, without duplicates."""
    roots: list[Path] = []
    if beside is not None:
        above = Path(os.path.abspath(beside)).parents  # noqa: PTH100 - symbolic links stay as written
        roots += [parent for parent in above if parent.name == "configs"][:1]
    roots += [Path.cwd() / "configs", (Path(__file__).resolve().parents[1] / "configs").resolve()]
    return [root for index, root in enumerate(roots) if root.is_dir() and root not in roots[:index]]


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return `; did you mean X?`, or `; there are: ...` if no name is close."""
    similar = get_close_matches(word, known, 1)
    if similar:
        return f"; did you mean `{similar[0]}`?"
    return f"; there are: {', '.join(known)}" if known else ""


def apply_override(root: Node, text: str, problems: list[Problem], position: Position = COMMAND_LINE) -> Node:
    """Return the document with the override `a.b.c=value` applied."""
    key, equals, written = text.partition("=")
    key = key.strip()
    if not equals or not key or "" in key.split("."):
        problems.append(Problem(position, "", f"{text!r} is no override: write key=value, as phases.mlm.tokens=2B"))
        return root
    try:
        value = replace(parse_value(written, position), whole=True)
    except ValueError as error:
        problems.append(Problem(position, key, str(error)))
        return root
    return set_value(root, key, value, problems)


def _replaced(below: Node, above: Node) -> Node:
    del below
    return above


Join = Callable[[Node, Node], Node]
"""Combines the existing node with the new one."""


def set_value(root: Node, key: str, value: Node, problems: list[Problem], join: Join = _replaced) -> Node:
    """Return a copy of `root` with `value` at the dotted `key`, creating missing mappings on the way."""
    try:
        return _set(root, key.split("."), 0, value, join)
    except ValueError as error:
        problems.append(Problem(value.position, key, str(error)))
        return root


def _set(node: Node, parts: Sequence[str], depth: int, value: Node, join: Join) -> Node:
    if "" in parts:
        raise ValueError(f"{'.'.join(parts)!r} is no key: write it as phases.mlm.tokens")
    if depth == len(parts):
        return join(node, value)
    part = parts[depth]
    if isinstance(node.value, dict):
        child = node.value.get(part)
        if child is None or child.value is None:
            child = Node(value.position, {})
        return replace(node, value={**node.value, part: _set(child, parts, depth + 1, value, join)})
    if isinstance(node.value, list):
        return _set_item(node, node.value, parts, depth, value, join)
    raise ValueError(f"`{'.'.join(parts[:depth])}` is {describe(node.value)}: it has nothing below it")


def _set_item(node: Node, items: Sequence[Node], parts: Sequence[str], depth: int, value: Node, join: Join) -> Node:
    """Set an item addressed by its name, which may contain dots, or by its index; null removes it."""
    named = _named(items) or {}
    ends = range(len(parts), depth, -1)
    end = next((end for end in ends if ".".join(parts[depth:end]) in named), depth + 1)
    part = ".".join(parts[depth:end])
    adds = end == len(parts) and isinstance(value.value, dict) and not part.isdecimal()
    if adds and part not in named:
        return merge(node, replace(value, value={part: value}, whole=False))
    index = _item_index(items, part, ".".join(parts[:depth]))
    changed = [_set(item, parts, end, value, join) if at == index else item for at, item in enumerate(items)]
    return replace(node, value=[item for item in changed if item.value is not None])


def _item_index(items: Sequence[Node], part: str, above: str) -> int:
    names = list(_named(items) or ())
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise ValueError(f"`{above}` has no item `{part}`{suggestion(part, names or [str(i) for i in range(len(items))])}")
