"""Take the types of fields apart, without their constraints."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel


def alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value of this type may have: several for a union."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from alternatives(argument)
    else:
        yield annotation


def models_in(annotation: Any) -> list[type[BaseModel]]:
    return [one for one in alternatives(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]


def items_in(annotation: Any) -> list[Any]:
    """Return the type of the items of each list."""
    return [get_args(one)[0] for one in alternatives(annotation) if get_origin(one) in (tuple, list)]


def values_in(annotation: Any) -> list[Any]:
    """Return the type of the values of each dict."""
    return [get_args(one)[1] for one in alternatives(annotation) if get_origin(one) is dict]
