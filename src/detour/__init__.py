"""Encoder pretraining with a causal detour, as chains of jobs. The public names are those of `detour.api`.

They are loaded on first use, so importing a room costs only what the room itself imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detour.api import plan, price, report, run, status, submit

__all__ = ["plan", "price", "report", "run", "status", "submit"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("detour.api"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
