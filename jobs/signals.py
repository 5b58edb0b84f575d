"""The signals that ask a job to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from detour.handlers import handling

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def on_stop_signals(handler: Callable[[int, object], None]) -> AbstractContextManager[None]:
    """Handle signals to stop with `handler`; the previous handlers are restored afterwards."""
    return handling(STOP_SIGNALS, handler)


@contextmanager
def forwarding(send: Callable[[int], None]) -> Iterator[Callable[[], None]]:
    """Pass the numbers of signals to stop to `send`, once the caller has called the given function to begin."""
    begun, early = False, list[int]()

    def answer(number: int, _frame: object) -> None:
        if begun:
            send(number)
        else:
            early.append(number)

    def begin() -> None:
        nonlocal begun
        begun = True
        for number in early:
            send(number)

    with on_stop_signals(answer):
        yield begin
