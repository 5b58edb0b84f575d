"""Apply values by dotted keys: `phases.mlm.tokens=2B` on the command line, or a change of a sweep.

List items are addressed by name or index; null removes an item, and a mapping under a new name adds one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from detour.config.layers import by_name, merge
from detour.config.problems import COMMAND_LINE, Problem
from detour.config.yaml_source import Node, describe, parse_value
from detour.text import suggestion


def apply_override(root: Node, text: str, problems: list[Problem]) -> Node:
    """Return the document with the override `a.b.c=value` applied."""
    key, equals, written = text.partition("=")
    key = key.strip()
    if not equals or not key or "" in key.split("."):
        problems.append(
            Problem(COMMAND_LINE, "", f"{text!r} is not an override: write key=value, such as phases.mlm.tokens=2B")
        )
        return root
    try:
        value = replace(parse_value(written), whole=True)
    except ValueError as error:
        problems.append(Problem(COMMAND_LINE, key, str(error)))
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
        problems.append(Problem(value.named_at or value.position, key, str(error)))
        return root


def _set(node: Node, parts: Sequence[str], depth: int, value: Node, join: Join) -> Node:
    if "" in parts:
        raise ValueError(f"{'.'.join(parts)!r} is not a key: write it as phases.mlm.tokens")
    if depth == len(parts):
        return join(node, value)
    part = parts[depth]
    if isinstance(node.value, dict):
        child = node.value.get(part)
        if child is None or child.value is None:
            child = Node(value.position, {}, named_at=value.named_at)
        return replace(node, value={**node.value, part: _set(child, parts, depth + 1, value, join)})
    if isinstance(node.value, list):
        return _set_item(node, node.value, parts, depth, value, join)
    raise ValueError(f"`{'.'.join(parts[:depth])}` is {describe(node.value)}: it has nothing below it")


def _set_item(node: Node, items: Sequence[Node], parts: Sequence[str], depth: int, value: Node, join: Join) -> Node:
    """Set an item addressed by its name, which may contain dots, or by its index; null removes it."""
    named = by_name(items) or {}
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
    names = list(by_name(items) or ())
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise ValueError(f"`{above}` has no item `{part}`{suggestion(part, names or [str(i) for i in range(len(items))])}")


def named_key(root: Node, key: str) -> str:
    """Return the dotted key with the names of items in place of their indexes, as far as they have names."""
    node, parts = root, []
    for part in key.split("."):
        named = by_name(node.items) or {}
        if part.isdecimal() and part not in named and int(part) < len(named):
            part = [*named][int(part)]
        parts.append(part)
        node = (node.mapping or named).get(part) or Node(node.position, None)
    return ".".join(parts)
