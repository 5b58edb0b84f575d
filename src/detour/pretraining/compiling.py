"""Deferred use of torch's compiler."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import torch

Given = ParamSpec("Given")
Result = TypeVar("Result")


def compiled_at_first_use(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """`torch.compile(function)`, compiled on first call: importing the compiler takes a second of CPU time."""

    @cache
    def compiled() -> Callable[Given, Result]:
        return torch.compile(function)

    @wraps(function)
    def call(*arguments: Given.args, **options: Given.kwargs) -> Result:
        return compiled()(*arguments, **options)

    return call
