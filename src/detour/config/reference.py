"""Every key of a recipe as Markdown tables: its values, default and meaning.

The tables are generated from the models. docs/recipes.md contains them, and a test compares the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any

from pydantic import TypeAdapter

from detour.config.fields import MAX_COUNT
from detour.config.model_config import FIELDS
from detour.config.models import Recipe
from detour.config.schema import field_meanings

_LIMITS = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
_TECHNICAL = 10**6
"""Bounds of at least this are technical and are not shown."""
_MOST_CELL_DEFAULT = 30
"""Maximum length of a default in a cell; longer ones are whole mappings, whose keys have a table of their own."""


def recipe_reference() -> str:
    """One table per mapping, in the order in which a recipe is written."""
    schema = TypeAdapter(Recipe).json_schema()
    definitions = {**schema.pop("$defs"), "Recipe": schema}
    tables = [_table(path, name, definitions[name]) for path, name in _mappings("", "Recipe", definitions)]
    fields = fill(f"Fields of `model.config`: {', '.join(f'`{field}`' for field in FIELDS)}.", 120)
    return "\n\n".join([*tables, fields]) + "\n"


def _mappings(path: str, name: str, definitions: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (path in a recipe, model) for every mapping; `[]` stands for each item of a list."""
    yield path, name
    for key, body in definitions[name]["properties"].items():
        for inner, suffix in _models(body):
            yield from _mappings(f"{path}.{key}{suffix}".lstrip("."), inner, definitions)


def _models(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "$ref" in body:
        yield body["$ref"].rpartition("/")[2], ""
    for choice in body.get("anyOf", body.get("oneOf", [])):
        yield from _models(choice)
    if "items" in body:
        yield from ((name, "[]") for name, _ in _models(body["items"]))


def _table(path: str, name: str, body: Mapping[str, Any]) -> str:
    tag = body["properties"].get("kind", {}).get("const")
    title = f"### `{path}`" if path else "### The recipe"
    required, meanings = body.get("required", []), field_meanings()[name]
    rows = [
        f"| `{key}` | {_kind(inner)} | {_default(key, inner, required)} | {meanings[key]} |"
        for key, inner in body["properties"].items()
    ]
    head = ["| key | what | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"{title}, kind `{tag}`" if tag else title, "", *head, *rows])


def _kind(body: Mapping[str, Any]) -> str:
    if choices := body.get("anyOf", body.get("oneOf")):
        return " or ".join(dict.fromkeys(_kind(choice) for choice in choices if choice.get("type") != "null"))
    if "$ref" in body:
        return "mapping"
    if "const" in body:
        return f"`{body['const']}`"
    if "enum" in body:
        return ", ".join(f"`{word}`" for word in body["enum"])
    kind = body.get("type")
    if kind == "array":
        items = body.get("prefixItems") or [body["items"]]
        return f"{len(items)} numbers" if "prefixItems" in body else f"list of {_kind(items[0])}"
    if kind == "integer" and body.get("maximum") == MAX_COUNT:
        return "quantity" if "exclusiveMinimum" in body else "quantity or 0"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "object": "mapping"}
    text = "name" if "pattern" in body else "text"
    return " ".join([words.get(str(kind), text), *_limits(body)])


def _limits(body: Mapping[str, Any]) -> Iterator[str]:
    return (f"{word} {body[key]:g}" for key, word in _LIMITS.items() if key in body and body[key] < _TECHNICAL)


def _default(key: str, body: Mapping[str, Any], required: list[str]) -> str:
    if key in required:
        return "required"
    default = body.get("default")
    if default in (None, "", [], {}):
        return "none"
    text = default if isinstance(default, str) else json.dumps(default)
    return f"`{text}`" if len(text) <= _MOST_CELL_DEFAULT and not isinstance(default, dict) else "see there"
