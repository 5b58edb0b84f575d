"""Generate the JSON Schema with which editors complete and check recipes."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import chain
from typing import Any

from pydantic import TypeAdapter

from detour.config import benchmark, data, fields, models, training
from detour.config.fields import MAX_COUNT
from detour.config.models import Recipe

QUANTITY, NUMERAL, VARIABLE = ({"$ref": f"#/$defs/{name}"} for name in ("Quantity", "Numeral", "Variable"))
_TEXTS = {
    "Quantity": {
        "description": "10B, 0.25B, 100M, 3_145_728, or a ${VARIABLE}",
        "type": "string",
        "pattern": r"^\s*(\d[\d_]*|[1-9]\d{0,2}(,\d{3})+)(\.\d+)?([eE][+-]?\d+)?\s*[kKMBGT]?\s*$|\$\{",
    },
    "Numeral": {
        "description": "A number in quotes, or a ${VARIABLE}",
        "type": "string",
        "pattern": r"^\s*[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$|\$\{",
    },
    "Variable": {"description": "A ${VARIABLE}", "type": "string", "pattern": r"\$\{"},
}
"""What may stand in a file for a number, a choice, a switch or a name."""


def recipe_json_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of a recipe.

    A file with `extends` may leave keys out, change list items by name and remove values with null.
    """
    full = TypeAdapter(Recipe).json_schema()
    definitions = full.pop("$defs")
    definitions["Recipe"] = full
    described = field_meanings()
    whole = {name: _adapted(_described(name, body, described)) for name, body in definitions.items()}
    changes = {f"{name}Changes": _partial(body) for name, body in whole.items()}
    for body in whole.values():
        for key in body.get("properties", {}).keys() - body.get("required", []):
            body["properties"][key] = _nullable(body["properties"][key])
    for entry in ("Recipe", "RecipeChanges"):
        body = (whole | changes)[entry]
        body["properties"]["benchmark"] = {"anyOf": [body["properties"]["benchmark"], {"type": "string"}]}
        body["properties"]["extends"] = {
            "type": "string",
            "description": "Another YAML file to build on, relative to this one.",
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "detour recipe",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/RecipeChanges"},
        "else": {"$ref": "#/$defs/Recipe"},
        "$defs": dict(sorted((whole | changes | _TEXTS).items())),
    }


def _adapted(node: Any) -> Any:
    """Allow quantities and variables, and drop titles, which only repeat the names.

    A discriminator, the only choice of one, takes no variable: it decides which schema applies.
    """
    if isinstance(node, list):
        return [_adapted(item) for item in node]
    if not isinstance(node, dict):
        return node
    adapted = {key: _adapted(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}
    other = _in_place_of(adapted)
    if other is None:
        return adapted
    kept = {key: adapted.pop(key) for key in ("default", "description") if key in adapted}
    return {"anyOf": [adapted, dict(other)], **kept}


def _in_place_of(value: dict[str, Any]) -> dict[str, str] | None:
    """Return the text that may stand for a value of this schema; None for other values."""
    kind = value.get("type")
    if kind == "integer" and value.get("maximum") == MAX_COUNT:
        return QUANTITY
    if kind in ("integer", "number"):
        return NUMERAL
    return VARIABLE if kind == "boolean" or (kind == "string" and ("enum" in value or "pattern" in value)) else None


def _nullable(body: Any) -> dict[str, Any]:
    """Allow null, which leaves a key at its default."""
    return body if {"type": "null"} in body.get("anyOf", []) else {"anyOf": [body, {"type": "null"}]}


def _partial(node: Any) -> Any:
    """Adapt the schema to an extending file: nothing required, null allowed, named lists also as mappings."""
    if isinstance(node, list):
        return [_partial(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node in (QUANTITY, NUMERAL, VARIABLE):
        return node
    if "$ref" in node:
        return {**node, "$ref": f"{node['$ref']}Changes"}
    changed = {key: _partial(value) for key, value in node.items() if key not in ("required", "minItems", "default")}
    if "properties" in changed:
        changed["properties"] = {key: _or_null(value) for key, value in changed["properties"].items()}
    if "mapping" in changed.get("discriminator", {}):
        changed.pop("discriminator")
    if "oneOf" in changed:
        changed["anyOf"] = changed.pop("oneOf")
    return changed


def _or_null(body: Any) -> dict[str, Any]:
    choices = [body, {"type": "null"}]
    if isinstance(body, dict) and body.get("type") == "array" and "$ref" in body.get("items", {}):
        by_name = {"anyOf": [body["items"], {"type": "null"}]}
        choices.append({"type": "object", "additionalProperties": by_name})
    return {"anyOf": choices}


def _described(name: str, body: Any, described: dict[str, dict[str, str]]) -> Any:
    for key, text in described.get(name, {}).items():
        if key in body.get("properties", {}):
            body["properties"][key]["description"] = text
    return body


@cache
def field_meanings() -> dict[str, dict[str, str]]:
    """Return class -> field -> the string below it in the source, read only when needed because it is slow."""
    own, classes = dict[str, dict[str, str]](), list[type]()
    for module in (fields, data, training, benchmark, models):
        for node in ast.parse(inspect.getsource(module)).body:
            if isinstance(node, ast.ClassDef):
                own[node.name] = _field_strings(node)
                classes.append(getattr(module, node.name))
    inherited = {one.__name__: [own.get(base.__name__, {}) for base in reversed(one.__mro__)] for one in classes}
    return {name: dict(chain.from_iterable(part.items() for part in parts)) for name, parts in inherited.items()}


def _field_strings(node: ast.ClassDef) -> dict[str, str]:
    strings = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            strings[field.target.id] = " ".join(below.value.value.split())
    return strings
