"""The signals that ask a job to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager

from detour.handlers import handling

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def on_stop_signals(handler: Callable[[int, object], None]) -> AbstractContextManager[None]:
    """Handle signals to stop with `handler`; the previous handlers are restored afterwards."""
    return handling(STOP_SIGNALS, handler)
