"""Signs of life of an attempt, for observers and for processes that would take over its claim."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from detour.accounting.codecarbon_meter import EnergyMeter
from detour.ledger.attempt import Attempt
from detour.ledger.claims import Claim
from detour.ledger.events import HEARTBEAT_S, AttemptHeartbeat


@contextmanager
def heartbeats(attempt: Attempt, held: Claim, meter: EnergyMeter) -> Iterator[None]:
    """Refresh the claim and journal a heartbeat every `HEARTBEAT_S`, from a thread."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_S):
            held.refresh()
            attempt.event(AttemptHeartbeat())
            meter.flush()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
