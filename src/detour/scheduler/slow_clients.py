"""What to do while a client of Slurm has not answered yet: set by a view of any kind, called by `commands`.

Apart from `commands`, because every `detour` sets it and few ask Slurm.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar

OnSlow = Callable[[str, float], AbstractContextManager[None]]
"""Receives the client's name and the seconds after which it is stopped; entered until the client has ended."""


def silent(_client: str, _left_s: float) -> AbstractContextManager[None]:
    return nullcontext()


on_slow: ContextVar[OnSlow] = ContextVar("on_slow", default=silent)
