"""Parse a cell of a label column into label names, refusing ambiguous values: a wrong guess would still score well.

Vectors of zeros and ones, lists written as text, spans and NaN would all train without an error if taken for names. So
anything that looks like one of them is refused until the recipe says how to read it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from detour.config.models import TaskData
from detour.corpus.sources import kind_of
from detour.errors import UserError

MISSING = frozenset({"nan", "none", "null", "nat", "<na>"})
"""What other programs write for a missing label."""
_ENCLOSED = re.compile(r"[\[{].*[\]}]", re.DOTALL)
_SEVERAL = re.compile(r"[;|]")
_BITS = re.compile(r"\[?\s*[01]\.?0?(?:[\s,;|]+[01]\.?0?)+\s*\]?")
_SIDE_BY_SIDE = re.compile(r"""['"]\s+['"]""")


def label_names(value: Any, data: TaskData, *, several: bool) -> list[str]:
    """Return the labels of a cell: any number if `several`, otherwise one. Raises UserError."""
    if data.label_format == "vector":
        names = [str(place) for place, bit in enumerate(vector(value)) if bit]
    elif data.label_format == "list":
        names = label_list(value)
    elif data.label_separator and isinstance(value, str):
        parts = (part.strip() for part in value.split(data.label_separator))
        names = [_name(part, verbatim=False) for part in parts if part]
    elif isinstance(value, list):
        names = [_name(item, verbatim=data.label_format == "name") for item in value]
    else:
        names = [_name(value, verbatim=data.label_format == "name")]
        if several and data.label_format == "auto" and _SEVERAL.search(names[0]):
            raise UserError(
                f"holds what looks like several labels, {_shown(value)}: set `label_separator`, or `label_format: name`"
            )
    if several:
        return names
    if not names:
        raise UserError("has no label; skip such rows with `exclude`")
    if data.label_format == "auto" and isinstance(value, list) and is_vector(value):
        raise UserError(f"holds {_shown(value)}: set `label_format: vector` to name labels by their position")
    if len(set(names)) > 1:
        raise UserError(f"holds {len(set(names))} labels, {_shown(value)}, and the task's type is single_label")
    return names


def label_list(value: Any) -> list[str]:
    """Return the names in a list, which may be written as text. Raises UserError."""
    return [_name(item, verbatim=True) for item in _items(value)]


def is_vector(value: Any) -> bool:
    """Whether a cell could be a vector of zeros and ones; if a whole column is, they are not names."""
    if isinstance(value, list):
        return len(value) > 1 and all(item in (0, 1, "0", "1") for item in value)
    return isinstance(value, str) and bool(_BITS.fullmatch(value.strip()))


def vector(value: Any) -> list[bool]:
    """Parse zeros and ones, in a list or as text. Raises UserError for anything else."""
    items: Iterable[Any] = re.split(r"[\s,;|]+", value.strip("[] \t")) if isinstance(value, str) else value
    bits = {0: False, 1: True, "0": False, "1": True, "0.0": False, "1.0": True, "0.": False, "1.": True}
    try:
        found = [bits[item] for item in items]
    except (KeyError, TypeError):
        found = []
    if not found:
        raise UserError(f"holds {_shown(value)}: `label_format: vector` expects a 0 or 1 per label")
    return found


def _items(value: Any) -> Sequence[Any]:
    """Return a list, parsed as JSON or Python if it is text; an empty cell has no labels."""
    if isinstance(value, str):
        value = _parsed(value) if value.strip() else []
    if not isinstance(value, list | tuple | set):
        raise UserError(f"holds {_shown(value)}: `label_format: list` expects a list")
    return sorted(value) if isinstance(value, set) else list(value)


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if _SIDE_BY_SIDE.search(text):  # as numpy prints an array; Python would concatenate the strings
            return text
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text


def _name(value: Any, *, verbatim: bool) -> str:
    if value is None or (isinstance(value, float) and value != value) or (isinstance(value, str) and not value.strip()):
        raise UserError("has no label; skip such rows with `exclude`")
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        raise UserError(f"holds the number {value!r}: a class is text or a whole number below 2^64; write it as text")
    if not isinstance(value, str):
        raise UserError(f"is of type {kind_of(value)} instead of a label: {_shown(value)}")
    if verbatim:
        return value
    name = value.strip()
    if name.casefold() in MISSING:
        raise UserError(f"holds {name!r}, no label; leave such rows out with `exclude`, or set `label_format: name`")
    if _ENCLOSED.fullmatch(name):
        raise UserError(f"holds {_shown(name)}: set `label_format` to list or vector, or to name if that is its name")
    return name


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
