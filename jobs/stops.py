"""What asks an attempt to stop at its next safe point: signals, and a time limit of schedulers that send none."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from detour.accounting.sampler import EnergySampler
from detour.jobs.signals import on_stop_signals
from detour.ledger.attempt import Attempt


@contextmanager
def stop_on_signals(attempt: Attempt, sampler: EnergySampler | None) -> Iterator[None]:
    """Turn TERM, INT, USR1 and USR2 into a request that the work follows at its next safe point."""

    def request(number: int, _frame: object) -> None:
        attempt.request_stop(f"signal {signal.Signals(number).name}")
        if sampler is not None:
            sampler.ask("signal")

    with on_stop_signals(request):
        yield


@contextmanager
def stop_after(attempt: Attempt, after_s: float | None) -> Iterator[None]:
    """Ask it to stop after this time; never for None."""
    if after_s is None:
        yield
        return
    timer = threading.Timer(after_s, attempt.request_stop, args=("wall-time limit",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
