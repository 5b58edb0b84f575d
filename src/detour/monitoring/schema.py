"""The JSON Schema of `detour status --json`, generated from the read model's types so that they cannot diverge."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from detour.monitoring.status import DERIVED, SCHEMA, Status

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def status_schema() -> dict[str, Any]:
    """Draft 2020-12. Each type of the model is a definition under its name, and allows no further properties."""
    definitions: dict[str, Any] = {}
    root = _of(Status, definitions)
    status = definitions[Status.__name__]
    status["properties"] = {"schema": {"const": SCHEMA}, **status["properties"]}
    status["required"].insert(0, "schema")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "detour status --json",
        "description": (
            "Times are seconds since the epoch, durations seconds; null is unknown. docs/watching.md has the states."
        ),
        **root,
        "$defs": definitions,
    }


def _of(annotation: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if annotation in _PLAIN:
        return {"type": _PLAIN[annotation]}
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is UnionType:
        return {"anyOf": [_of(part, definitions) for part in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions)}
    return _object(annotation, definitions)


def _object(model: type, definitions: dict[str, Any]) -> dict[str, Any]:
    if model.__name__ not in definitions:
        definitions[model.__name__] = {}  # while it is being built, in case it contains itself
        fields = {**get_type_hints(model), **DERIVED.get(model, {})}
        properties = {name: _of(annotation, definitions) for name, annotation in fields.items()}
        definitions[model.__name__] = {
            "type": "object",
            "description": (model.__doc__ or "").partition("\n")[0],
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{model.__name__}"}
