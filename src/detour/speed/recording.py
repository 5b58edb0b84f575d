"""What is kept of a training while its speed is measured, and the GPUs' energy counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from detour.accounting.nvml import NvmlCounters, node_counters
from detour.ledger.events import AttentionChosen, CheckpointSaved, Event


@dataclass
class SpeedRecorder:
    """A `Recorder` that keeps what a training says of its speed, energy, attention and saves."""

    skipped_steps: int
    """Steps before energy is counted."""
    tokens_per_s: list[float] = field(default_factory=list)
    mfu: list[float] = field(default_factory=list)
    save_s: float | None = None
    attention: AttentionChosen = field(init=False)
    stop_reason: str | None = None
    marks: list[tuple[int, float | None]] = field(default_factory=list)

    def event(self, event: Event) -> None:
        if isinstance(event, CheckpointSaved):
            self.save_s = event.save_s
        elif isinstance(event, AttentionChosen):
            self.attention = event

    def progress(self, done: int, total: int, unit: str, **figures: float | None) -> None:  # noqa: ARG002
        if (speed := figures.get("tokens_per_s")) is not None:
            self.tokens_per_s.append(speed)
            self.marks.append((done, gpu_joules()))
        if (share := figures.get("mfu")) is not None:
            self.mfu.append(share)

    def joules_per_token(self) -> float | None:
        (first, from_j), (last, to_j) = self.marks[self.skipped_steps - 1], self.marks[-1]
        return None if from_j is None or to_j is None or last == first else (to_j - from_j) / (last - first)


@cache
def _counters() -> NvmlCounters:
    return node_counters()


def gpu_joules() -> float | None:
    """Energy since the driver was loaded, summed over this process's GPUs; None if one of them has no counter."""
    readings = [reading.counter_j for reading in _counters().read()]
    known = [joules for joules in readings if joules is not None]
    return sum(known) if known and len(known) == len(readings) else None


def joules_since(joules: float | None) -> float | None:
    now = None if joules is None else gpu_joules()
    return None if now is None or joules is None else now - joules
