"""Read and journal the energy counters of one node during the work; use it in local rank 0 only.

Counters are read at the start, at intervals, at checkpoints, on signals and at the end, in a separate thread, which
waits for the devices without holding the GIL. Records are cumulative, so a SIGKILL loses only what came after the last
one, and include the raw counters. Any failure becomes a reason in the journal; a reading that hangs is abandoned.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import isnan
from types import TracebackType

from detour.accounting.allocation import held_cpus
from detour.accounting.nvml import Counters, node_counters
from detour.accounting.rapl import HostCounters, share_of_cores
from detour.accounting.tally import GpuTally
from detour.ledger.events import CheckpointSaved, EnergyRead, Event

INTERVAL_S = 30.0
INTERVAL_VARIABLE = "DETOUR_ENERGY_SECONDS"
"""Environment variable with the seconds between two records, 1 to 600."""
POWER_INTERVAL_S = 5.0
"""Seconds between two samples of power, for GPUs without a counter."""
LEAST_GAP_S = 1.0
"""Minimum seconds between readings at checkpoints."""
PATIENCE_S = 5.0
"""Maximum time that the end of an attempt waits for its last reading."""


class EnergySampler:
    """Samples the counters. `record` journals a reading and is called from the sampler's thread."""

    def __init__(
        self,
        record: Callable[[EnergyRead], None],
        *,
        counters: Callable[[], Counters] = node_counters,
        host: Callable[[], HostCounters] = HostCounters,
        interval_s: float | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._record, self._counters, self._host = record, counters, host
        self._interval_s = interval_of(os.environ.get(INTERVAL_VARIABLE)) if interval_s is None else interval_s
        self._patience_s = patience_s
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()  # may be filled from a signal handler
        self._node = _Node()
        self._last: EnergyRead | None = None
        self._thread = threading.Thread(target=self._run, name="energy-sampler", daemon=True)

    def __enter__(self) -> EnergySampler:
        with suppress(RuntimeError):  # if no thread can be started, the work continues without a sampler
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.ident is None:
            self._leave("no thread could be started")
            return
        self.ask("end")
        self._thread.join(self._patience_s)
        if self._thread.is_alive():
            self._leave(f"no answer within {self._patience_s:g} s of the end")

    def ask(self, why: str) -> None:
        """Request a reading and return immediately; safe in a signal handler."""
        self._asked.put(why)

    def heard(self, event: Event) -> None:
        """Request a reading at checkpoints."""
        if isinstance(event, CheckpointSaved):
            self.ask("checkpoint")

    def _run(self) -> None:
        try:
            self._sample()
        except Exception as error:  # noqa: BLE001  a sampler never disturbs what it samples
            self._leave(repr(error))

    def _sample(self) -> None:
        self._node.open(self._counters, self._host)
        why, recorded_s = "start", float("-inf")
        while True:
            since_s = time.monotonic() - recorded_s
            if why != "checkpoint" or since_s >= LEAST_GAP_S:
                self._node.read()
                if why != "interval" or since_s >= self._interval_s:
                    recorded_s = time.monotonic()
                    self._last = self._node.event(why)
                    self._tell(self._last)
            if why == "end":
                return
            wait_s = min(self._interval_s, POWER_INTERVAL_S) if self._node.needs_power else self._interval_s
            try:
                why = self._asked.get(timeout=wait_s)
            except queue.Empty:
                why = "interval"

    def _tell(self, event: EnergyRead) -> None:
        with suppress(Exception):  # the work continues without a record of its energy
            self._record(event)

    def _leave(self, problem: str) -> None:
        """Journal the last sums again, with the reason why there are no later ones."""
        with suppress(Exception):
            last = self._last or self._node.event("end")
            self._record(EnergyRead(**last.to_json() | {"reason": problem}))


@dataclass(slots=True)
class _Node:
    """Counts of this node."""

    began_s: float = field(default_factory=time.time)
    _began_mono_s: float = field(default_factory=time.monotonic)
    gpus: dict[str, GpuTally] = field(default_factory=dict)
    problem: str | None = None
    _counters: Counters | None = None
    _host: HostCounters | None = None
    _host_j: tuple[float | None, float | None] = (None, None)
    _host_s: float | None = None
    _share: float = 1.0

    def open(self, counters: Callable[[], Counters], host: Callable[[], HostCounters]) -> None:
        present = os.sched_getaffinity(0)
        self._share = share_of_cores(present) * held_cpus() / len(present)
        self._host = host()
        try:
            self._counters = counters()
        except ModuleNotFoundError as error:
            self.problem = f"{error.name} is not installed"
        except Exception as error:  # noqa: BLE001  the CPU is still counted
            self.problem = repr(error)

    def read(self) -> None:
        if self._host is not None:
            self._host_j = self._host.read()
            self._host_s = None if self._host_j == (None, None) else self._elapsed_s
        if self._counters is None:
            return
        try:
            readings = self._counters.read()
        except Exception as error:  # noqa: BLE001  the next reading may succeed
            self.problem = repr(error)
            return
        now_s = time.monotonic()
        self.problem = None
        for reading in readings:
            self.gpus.setdefault(reading.uuid, GpuTally()).add(reading, now_s)

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_mono_s

    @property
    def needs_power(self) -> bool:
        return any(gpu.last is not None and gpu.last.counter_j is None for gpu in self.gpus.values())

    def event(self, why: str) -> EnergyRead:
        cpu_j, ram_j = (None if value is None else value * self._share for value in self._host_j)
        reasons = [f"{uuid} {gpu.last.reason}" for uuid, gpu in self.gpus.items() if gpu.last and gpu.last.reason]
        return EnergyRead(
            why=why,
            node=socket.gethostname(),
            began_s=self.began_s,
            elapsed_s=self._elapsed_s,
            gpus={uuid: gpu.to_json() for uuid, gpu in self.gpus.items()},
            cpu_j=cpu_j,
            ram_j=ram_j,
            host_s=self._host_s,
            host_share=self._share,
            reason="; ".join(filter(None, [self.problem, *reasons])) or None,
            version=self._counters.version if self._counters else None,
        )


def interval_of(text: str | None) -> float:
    """Parse an interval in seconds, clamped to 1 to 600; the default if it is not a number."""
    try:
        seconds = float(text or INTERVAL_S)
    except ValueError:
        return INTERVAL_S
    return INTERVAL_S if isnan(seconds) else min(max(seconds, 1.0), 600.0)
