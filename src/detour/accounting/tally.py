"""Accumulate the energy of one GPU from its readings; pure arithmetic.

The energy between two readings of a counter is their difference, however long the interval. If that is invalid (the
counter decreased, or increased by more than the board can draw), the interval counts as unobserved and adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from detour.accounting.nvml import GpuReading
from detour.ledger.events import GpuCounted

LIMIT_FACTOR = 2.0
"""Maximum mean power over an interval, as a multiple of the board's limit, which is exceeded only for milliseconds."""
POWER_HOLDS_S = 20.0
"""Maximum seconds between two samples of power that cover the time between them."""


@dataclass(slots=True)
class GpuTally:
    energy_j: float = 0.0
    sampled_j: float = 0.0
    seen_s: float = 0.0
    resets: int = 0
    last: GpuReading | None = None
    _counter: tuple[float, float] | None = None
    """Time and joules of the last counter reading."""
    _power: tuple[float, float] | None = None
    """Time and watts of the last power sample, without a counter."""

    def add(self, reading: GpuReading, at_s: float) -> None:
        """Add a reading at the monotonic time `at_s`. An empty reading keeps the last counter, which runs on."""
        self.last = reading
        if reading.counter_j is not None:
            self._add_counter(reading.counter_j, reading, at_s)
        elif reading.power_w is not None:
            self._add_power(reading.power_w, reading, at_s)
        else:
            self._power = None

    def _add_counter(self, counter_j: float, reading: GpuReading, at_s: float) -> None:
        if self._counter is not None:
            before_s, before_j = self._counter
            grown_j, passed_s = counter_j - before_j, at_s - before_s
            if grown_j < 0 or (reading.limit_w and grown_j > LIMIT_FACTOR * reading.limit_w * max(passed_s, 1.0)):
                self.resets += 1
            else:
                self.energy_j += grown_j * reading.share
                self.seen_s += passed_s
        self._counter, self._power = (at_s, counter_j), None

    def _add_power(self, power_w: float, reading: GpuReading, at_s: float) -> None:
        if self._power is not None and at_s - self._power[0] <= POWER_HOLDS_S:
            before_s, before_w = self._power
            drawn_j = (before_w + power_w) / 2 * (at_s - before_s) * reading.share
            self.energy_j += drawn_j
            self.sampled_j += drawn_j
            self.seen_s += at_s - before_s
        self._counter, self._power = None, (at_s, power_w)

    def to_json(self) -> GpuCounted:
        return {
            "counter_j": self.last.counter_j if self.last else None,
            "power_w": self.last.power_w if self.last else None,
            "energy_j": self.energy_j,
            "sampled_j": self.sampled_j,
            "seen_s": self.seen_s,
            "resets": self.resets,
            "share": self.last.share if self.last else 1.0,
        }
