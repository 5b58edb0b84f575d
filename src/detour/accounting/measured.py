"""M1: the energy of an attempt from differences of its nodes' hardware counters; pure arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import fsum
from typing import TYPE_CHECKING, NamedTuple

from detour.accounting.energy import Band, EnergyFigure, Method
from detour.accounting.hours import AttemptUsage
from detour.accounting.methods import CPU_RAM_ERROR, ESTIMATE_ERROR, GPU_COUNTER_ERROR, UNREAD, number
from detour.accounting.periods import Drawn, over
from detour.accounting.traces import Piece, Spans, Trace, last_power_w, pieces_of, spans_of, traces_of
from detour.site import Site, Sourced
from detour.text import counted, format_duration

if TYPE_CHECKING:
    from detour.ledger.events import EnergyRead
    from detour.ledger.record import Entry

SAMPLED_POWER_ERROR = 0.15
"""Relative error of power sampled every few seconds instead of a counter."""
IDLE_SHARE = 0.1
"""Approximate idle power of data centre boards, as a share of the board's limit."""
J_PER_KWH = 3.6e6
_Seen = tuple[Trace, Sequence[Piece]]


class _Gpus(NamedTuple):
    """Energy of an attempt's GPUs."""

    band: Band
    covered: float
    """Share of the allocated GPU time that was observed."""
    detail: str


class _Host(NamedTuple):
    """Energy of CPU and RAM of all nodes."""

    band: Band
    covered: float
    is_counted: bool
    """Whether the CPU energy is from a counter."""
    names: tuple[str, ...]
    """What is included, and how it was obtained: `CPU by RAPL`, `RAM by model`."""


def measured(
    site: Site, readings: Sequence[Entry[EnergyRead]], usage: AttemptUsage, spans: Spans | None = None
) -> EnergyFigure:
    """Return the measured energy of an attempt.

    `readings` are those of all nodes, each the last of its hour; `spans` cover all attempts that may share GPUs with
    this one. GPU time that no counter observed (a node that vanished, a device that was lost, the tail of a killed
    attempt) is filled in at the last mean power, with a band from idle to the board's limit, and marked. A slice (MIG)
    gets its share of its board's energy, with a band from 0 to the whole board, since counters do not distinguish
    slices.
    """
    seen = _seen(readings, spans) if usage.gpus != 0 else []
    gpus, host = _gpus(site, seen, usage), _host(site, readings, usage)
    reason = "; ".join(dict.fromkeys(filter(None, (entry.event.reason for entry in readings)))) or None
    if gpus is None and (usage.gpus != 0 or not host.is_counted):
        return EnergyFigure(Method.MEASURED, site, None, usage.allocated_s, 0.0, reason=reason or UNREAD)
    covered = gpus.covered if gpus else host.covered
    energy = gpus.band + host.band if gpus else host.band
    return EnergyFigure(
        method=Method.MEASURED,
        site=over(site, _drawn(usage, energy, seen)),
        it_energy_kwh=energy,
        allocated_s=usage.allocated_s,
        covered_s=usage.allocated_s * covered,
        extended_s=usage.allocated_s * (1 - covered),
        scope=" and ".join([*(["GPU boards"] if gpus else []), *(name.split()[0] for name in host.names)]),
        detail=", ".join([*([gpus.detail] if gpus else []), *host.names]),
        version="; ".join(dict.fromkeys(f"driver {v}" for entry in readings if (v := entry.event.version))),
        reason=reason,
    )


def drawn_by(
    readings: Sequence[Entry[EnergyRead]], usage: AttemptUsage, energy: Band, spans: Spans | None = None
) -> list[Drawn]:
    """Return when an attempt's measured energy was drawn, as evenly apart from what its GPUs' counters show."""
    return _drawn(usage, energy, _seen(readings, spans) if usage.gpus != 0 else [])


def _seen(readings: Iterable[Entry[EnergyRead]], spans: Spans | None) -> list[_Seen]:
    traces = traces_of(readings)
    known, own = spans_of(traces) if spans is None else spans, frozenset(trace.writer for trace in traces)
    return [(trace, pieces_of(trace, known, own)) for trace in traces]


def _drawn(usage: AttemptUsage, energy: Band, seen: Iterable[_Seen]) -> list[Drawn]:
    drawn = [(piece.start_s, piece.end_s, piece.energy_j) for _, pieces in seen for piece in pieces]
    rest_j = max(0.0, energy.expected * J_PER_KWH - fsum(joules for *_, joules in drawn))
    return [*drawn, (usage.start_s, usage.end_s, rest_j)]


def _gpus(site: Site, seen: Sequence[_Seen], usage: AttemptUsage) -> _Gpus | None:
    """Return the energy of the GPUs, None if no GPU was observed."""
    powers_w = [power for _, pieces in seen if (power := last_power_w(pieces)) is not None]
    if not powers_w:
        return None
    shares = {trace.uuid: trace.share for trace, _ in seen}
    boards = fsum(shares.values())
    held = usage.gpus or boards
    ours = min(1.0, held / boards)
    seen_s = fsum(piece.seen_s for _, pieces in seen for piece in pieces) * ours
    owed_s = held * len(shares) / boards * usage.allocated_s
    missing_s = max(0.0, owed_s - seen_s)
    bands = [_band_j(trace, pieces) * ours for trace, pieces in seen]
    limit_w = None if site.gpu_board_w is None else site.gpu_board_w.value * boards / len(shares)
    bands.append(_unseen_w(fsum(powers_w) / len(powers_w), limit_w) * missing_s)
    return _Gpus(
        band=sum(bands, Band(0.0, 0.0, 0.0)) * (1 / J_PER_KWH),
        covered=min(1.0, seen_s / owed_s) if owed_s > 0 else 1.0,
        detail=_in_words([trace for trace, _ in seen], missing_s)
        + (f", of which the job held {held:g} and takes its share" if ours < 1 else ""),
    )


def _unseen_w(mean_w: float, limit_w: float | None) -> Band:
    """Return the power of an unobserved GPU, which may have been idle or at its board's limit."""
    around = Band.around(mean_w, ESTIMATE_ERROR)
    if limit_w is None:
        return around
    return Band(min(around.low, IDLE_SHARE * limit_w), mean_w, max(around.high, limit_w))


def _band_j(trace: Trace, pieces: Sequence[Piece]) -> Band:
    energy_j = fsum(piece.energy_j for piece in pieces)
    sampled_j = fsum(piece.sampled_j for piece in pieces)
    if trace.share < 1:
        return Band(0.0, energy_j, energy_j / trace.share * (1 + GPU_COUNTER_ERROR))
    counted = Band.around(energy_j - sampled_j, GPU_COUNTER_ERROR)
    return counted + Band.around(sampled_j, SAMPLED_POWER_ERROR) if sampled_j else counted


def _in_words(traces: Sequence[Trace], missing_s: float) -> str:
    kinds = Counter({trace.uuid: _kind(trace) for trace in traces}.values())
    parts = [f"{count} GPU by {kind}" for kind, count in sorted(kinds.items())]
    if resets := sum(trace.resets for trace in traces):
        parts.append(f"counters were reset {counted(resets, 'time')}")
    if missing_s >= 1:
        parts.append(f"{format_duration(missing_s)} of GPU time filled in at the last mean power")
    return ", ".join(parts)


def _kind(trace: Trace) -> str:
    if trace.share < 1:
        return f"{trace.share:.0%} of a board's counter (MIG)"
    return "sampled power" if trace.points[-1].sampled_j > 0 else "NVML counter"


def _host(site: Site, readings: Iterable[Entry[EnergyRead]], usage: AttemptUsage) -> _Host:
    """Return CPU and RAM energy from counters if available, otherwise from the profile's power per core and per GB."""
    by_node: dict[str, EnergyRead] = {}
    for entry in readings:
        known, event = by_node.get(entry.event.node), entry.event
        if number(event.host_s) and (known is None or (known.host_s or 0.0) < (event.host_s or 0.0)):
            by_node[event.node] = event
    seen_s = fsum(event.host_s or 0.0 for event in by_node.values())
    owed_s = usage.allocated_s * max(usage.nodes, len(by_node))
    cpu_kwh = _counted_kwh([event.cpu_j for event in by_node.values()], seen_s, owed_s)
    ram_kwh = _counted_kwh([event.ram_j for event in by_node.values()], seen_s, owed_s)
    parts = [
        ("CPU by RAPL", cpu_kwh),
        ("CPU by model", _modelled_kwh(usage.cpus, site.core_w, usage) if cpu_kwh is None else None),
        ("RAM by RAPL", ram_kwh),
        ("RAM by model", _modelled_kwh(usage.ram_gb, site.ram_w_per_gb, usage) if ram_kwh is None else None),
    ]
    return _Host(
        band=Band.around(fsum(kwh for _, kwh in parts if kwh is not None), CPU_RAM_ERROR),
        covered=min(1.0, seen_s / owed_s) if owed_s > 0 else 0.0,
        is_counted=cpu_kwh is not None,
        names=tuple(name for name, kwh in parts if kwh is not None),
    )


def _counted_kwh(sums_j: Sequence[float | None], seen_s: float, owed_s: float) -> float | None:
    """Return counted energy extended to unobserved time and nodes, None without a counter. Concurrent attempts, which
    all observe the same counter, each get the share of their time."""
    known = [value for value in map(number, sums_j) if value is not None]
    if not known or seen_s <= 0:
        return None
    return fsum(known) / J_PER_KWH * owed_s / seen_s


def _modelled_kwh(amount: float | None, power_w: Sourced | None, usage: AttemptUsage) -> float | None:
    if amount is None or power_w is None:
        return None
    return amount * power_w.value * usage.allocated_s / J_PER_KWH
