"""Records as a sampler writes them, on a clock that tests set, and attempts made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from detour.accounting.hours import HOUR_S, AttemptUsage
from detour.accounting.nvml import NvmlCounters
from detour.accounting.tally import GpuTally
from detour.ledger.events import EnergyRead
from detour.ledger.record import Entry
from detour.site import Site, Sourced
from tests.accounting.fake_nvml import FakeNvml

SITE = Site("here", Sourced(1.2, "test"), Sourced(34.0, "test"), Sourced(700.0, "test"), Sourced(7.3, "test"))
BEGAN_S = 1.8e9


def sampled(
    nvml: FakeNvml,
    *,
    seconds: float,
    every_s: float = 30.0,
    visible: str | None = None,
    happens: Callable[[float], None] | None = None,
    writer: str = "w",
    node: str = "n1",
    began_s: float = BEGAN_S,
) -> list[Entry[EnergyRead]]:
    """Return readings over this time; `happens` may change the machine at each of them. No real time passes."""
    counters, tallies, entries = NvmlCounters(visible, nvml), dict[str, GpuTally](), list[Entry[EnergyRead]]()
    at_s = 0.0
    while True:
        if happens is not None:
            happens(at_s)
        for reading in counters.read():
            tallies.setdefault(reading.uuid, GpuTally()).add(reading, at_s)
        event = EnergyRead(
            why="interval",
            node=node,
            began_s=began_s,
            elapsed_s=at_s,
            gpus={uuid: tally.to_json() for uuid, tally in tallies.items()},
        )
        entries.append(Entry(len(entries), writer, began_s + at_s, at_s, event))
        if at_s >= seconds:
            return entries
        nvml.advance(every_s)
        at_s += every_s


def by_hour(entries: Iterable[Entry[EnergyRead]]) -> list[Entry[EnergyRead]]:
    """Return the readings that the folded state keeps."""
    return list({(entry.wall_s // 3600, entry.writer): entry for entry in entries}.values())


def usage_between(start_h: float, end_h: float, attempt: str = "1", **more: object) -> AttemptUsage:
    """Return an attempt on four GPUs."""
    base = AttemptUsage(attempt, "pretrain-a", start_h * HOUR_S, end_h * HOUR_S, gpus=4, cpus=96)
    return base._replace(**more)  # type: ignore[arg-type]


def usage(seconds: float, gpus: float | None, nodes: int = 1) -> AttemptUsage:
    return AttemptUsage("a", "s", BEGAN_S, BEGAN_S + seconds, gpus, None, nodes)
