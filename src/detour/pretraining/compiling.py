"""torch's compiler, imported where something is compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")


def compiled_at_first_use(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """`torch.compile(function)`, asked for at its first call: the compiler's imports take a second of CPU time."""

    @cache
    def compiled() -> Callable[Given, Result]:
        return torch.compile(function)

    @wraps(function)
    def call(*arguments: Given.args, **options: Given.kwargs) -> Result:
        return compiled()(*arguments, **options)

    return call
