"""Handlers of signals for a part of a program."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def handling(numbers: Iterable[int], handler: signal.Handlers | Callable[[int, Any], object]) -> Iterator[None]:
    """Handle these signals with `handler`; the previous handlers are restored afterwards."""
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
