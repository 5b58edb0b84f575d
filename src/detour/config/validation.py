"""Turn a document's tree into a model, rewording pydantic's errors and placing them at their lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from detour.config.annotations import items_in, models_in, values_in
from detour.config.layers import read_layers
from detour.config.partial import further_problems
from detour.config.problems import EMPTY, Inconsistent, KeyPath, Position, Problem, RecipeError
from detour.config.yaml_source import Node, describe, to_plain
from detour.text import suggestion

M = TypeVar("M", bound=BaseModel)


def read_model(model: type[M], path: Path) -> M:
    """Return the model in the file at `path`, with what it extends. Raises RecipeError with every mistake."""
    return validate(model, *read_layers(path))


def validate(model: type[M], root: Node, problems: Iterable[Problem] = ()) -> M:
    """Return the model. Raises RecipeError with the problems found before and all mistakes in the tree."""
    nulls = unknown_nulls(model, root)
    known = [*problems, *(_unknown_key(model, root, path) for path in nulls)]
    plain = to_plain(root)
    try:
        built = model.model_validate(plain)
    except ValidationError as error:
        seen = {(problem.position, problem.key) for problem in known}
        details = error.errors(include_url=False)
        found = [problem for detail in details for problem in _problems_in(model, root, detail)]
        found += [Problem(*place(root, path), message) for path, message in further_problems(model, plain, details)]
        raise RecipeError([*known, *(p for p in found if (p.position, p.key) not in seen)]) from error
    if known:
        raise RecipeError(known)
    return built


def place(root: Node, path: KeyPath) -> tuple[Position, str]:
    """Return the position and printed form of the deepest part of `path` in the document; list items print by name."""
    node, shown = _find(root, path)
    return node.position, shown


def _find(root: Node, path: KeyPath) -> tuple[Node, str]:
    node, shown = root, []
    for part in path:
        if isinstance(node.value, dict) and isinstance(part, str):
            child = node.value.get(part)
            if child is None:
                continue  # a default, a missing key or the tag of a union
            node, label = child, part
        elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            label = str(part) if node.name is None else node.name
        else:
            continue
        shown.append(label)
    return node, ".".join(shown)


def _problems_in(model: type[BaseModel], root: Node, detail: ErrorDetails) -> list[Problem]:
    path: KeyPath = tuple(detail["loc"])
    context = detail.get("ctx", {})
    if isinstance(cause := context.get("error"), Inconsistent):
        return [Problem(*place(root, (*path, *below)), message) for below, message in cause.problems]
    if detail["type"] == "missing":
        return [_missing(root, path)]
    position, key = place(root, path)
    if detail["type"] == "too_short" and len(detail["input"]) >= context["min_length"]:
        return []  # pydantic left out the invalid items, which are reported on their own
    if detail["type"] == "extra_forbidden":
        return [_unknown_key(model, root, path)]
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        tag = str(context["discriminator"]).strip("'")
        position, key = place(root, (*path, tag))
        expected = context.get("expected_tags")
        if expected is None:
            return [Problem(position, f"{key}.{tag}", "is missing: it selects the kind")]
        return [Problem(position, key, _choice(context["tag"], expected))]
    return [
        Problem(
            position, key, _message(detail, context) + _shape_expected(model, path, detail["type"], detail["input"])
        )
    ]


def _shape_expected(model: type[BaseModel], path: KeyPath, kind: str, found: object) -> str:
    """Say how to write a text, a mapping or a list of named items, to a reader who wrote another value instead."""
    if kind in ("tuple_type", "list_type") and "name" in _fields_at(model, (*path, 0)):
        return ": write each item as `- name: ...`"
    needed = [f"`{name}`" for name, field in _fields_at(model, path).items() if field.is_required()]
    if kind == "string_type" and isinstance(found, int | float):
        return ": put it in quotes"
    return f": write {', '.join(needed)}" if kind in ("model_type", "model_attributes_type") and needed else ""


def _unknown_key(model: type[BaseModel], root: Node, path: KeyPath) -> Problem:
    node, shown = _find(root, path)
    known = sorted(_fields_at(model, path[:-1]))
    return Problem(node.named_at or node.position, shown, f"unknown key{suggestion(str(path[-1]), known)}")


def unknown_nulls(model: type[BaseModel], node: Node, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Paths of unknown keys with null, which pydantic does not see because null removes: these remove nothing.

    `path` is that of `node` below the model.
    """
    if isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from unknown_nulls(model, item, (*path, index))
    elif isinstance(node.value, dict):
        for key, child in node.value.items():
            if child.value is not None:
                yield from unknown_nulls(model, child, (*path, key))
            elif (known := _fields_at(model, path)) and key not in known:
                yield (*path, key)


def _missing(root: Node, path: KeyPath) -> Problem:
    """Report a missing key at the key itself if it is null, otherwise at the mapping that should hold it."""
    position, _ = place(root, path)
    _, parent = place(root, path[:-1])
    return Problem(position, f"{parent}.{path[-1]}".lstrip("."), "is missing")


_EXPECTED: Mapping[str, str] = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "date_from_datetime_inexact": "a day such as 2026-11-22",
    "date_from_datetime_parsing": "a day such as 2026-11-22",
    "date_parsing": "a day such as 2026-11-22",
    "date_type": "a day such as 2026-11-22",
}
_LIMITS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _message(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    kind, value = detail["type"], describe(detail["input"])
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, found {value}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        limit = context[name]
        if limit >= 10**6:
            return f"is too large: must be {words} {limit:,}"
        return f"must be {words} {limit:,g}, not {value}"
    if kind == "literal_error":
        return _choice(str(detail["input"]), context["expected"])
    if kind == "string_too_short":
        return EMPTY
    if kind == "too_short":
        return "needs at least one item" if context["actual_length"] == 0 else f"needs {context['min_length']} items"
    if kind == "too_long":
        return f"needs {context['max_length']} items, not {context['actual_length']}"
    if kind == "string_pattern_mismatch":
        return (
            f"{value} is not a name: write lower-case letters, digits, `.`, `_`, `-`, "
            "starting with a letter or digit, 64 at most"
        )
    return f"{detail['msg']} (found {value})"


def _choice(found: str, expected: str) -> str:
    """`expected` is worded by pydantic: `'a', 'b' or 'c'`."""
    known = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    return f"{describe(found)} is none of {', '.join(known)}" + suggestion(found, known, "")


def _fields_at(model: type[BaseModel], path: KeyPath) -> dict[str, FieldInfo]:
    """Return the fields of the model at `path` below `model`; the path contains union tags, as pydantic's does."""
    current: Any = model
    for part in path:
        current = _step(current, part)
    return {name: field for found in models_in(current) for name, field in found.model_fields.items()}


def _step(annotation: Any, part: str | int) -> Any:
    found = models_in(annotation)
    if isinstance(part, int):
        return next(iter(items_in(annotation)), None)
    for candidate in found:
        if part in candidate.model_fields:
            return candidate.model_fields[part].annotation
    for candidate in found:
        if any(part in get_args(field.annotation) for field in candidate.model_fields.values()):
            return candidate
    return next(iter(values_in(annotation)), None)
