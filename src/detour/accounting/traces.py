"""Energy of each GPU over time, as observed by samplers, without counting any of it twice; pure arithmetic.

Several samplers may observe one GPU at the same time: two attempts that share it, or two processes of one job. Each
observes the energy of the whole GPU. So an interval's energy is divided by the number of its observers, and any sum
contains each interval of each UUID once. Only few readings of each sampler are stored. If one began or ended between
two readings of another, the driver's counter, which all of them read, gives the energy at that time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import fsum, isclose, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from detour.ledger.events import EnergyRead, GpuCounted
    from detour.ledger.record import Entry
    from detour.ledger.state import State

LATEST_WEIGHS_S = 600.0
"""Minimum length of the last piece to determine the power of a lost tail on its own."""


class Point(NamedTuple):
    """Sums since the sampler started."""

    at_s: float
    energy_j: float
    sampled_j: float
    seen_s: float
    counter_j: float | None = None
    """The driver's counter at that time, which is the same for all samplers."""


class Trace(NamedTuple):
    """One GPU as observed by one sampler; the first point is the sampler's start."""

    uuid: str
    writer: str
    points: tuple[Point, ...]
    share: float
    resets: int

    @property
    def start_s(self) -> float:
        return self.points[0].at_s

    @property
    def end_s(self) -> float:
        return self.points[-1].at_s

    @property
    def ends(self) -> tuple[Point, Point]:
        return self.points[0], self.points[-1]


class Piece(NamedTuple):
    """An attempt's share of the energy of one GPU between two instants."""

    start_s: float
    end_s: float
    energy_j: float
    sampled_j: float
    seen_s: float


Spans = Mapping[str, Sequence[Trace]]
"""UUID -> all its traces."""


def traces_of(readings: Iterable[Entry[EnergyRead]]) -> list[Trace]:
    """Return the traces of `readings`, which may be in any order; invalid figures are left out."""
    ordered = sorted(readings, key=lambda entry: (entry.writer, entry.sequence))
    points: dict[tuple[str, str], list[Point]] = {}
    last: dict[tuple[str, str], Any] = {}
    for entry in ordered:
        event = entry.event
        for uuid, gpu in event.gpus.items():
            if not (_is_amount(gpu["energy_j"]) and _is_amount(gpu["sampled_j"])):
                continue
            key = (uuid, entry.writer)
            known = points.setdefault(key, [Point(event.began_s, 0.0, 0.0, 0.0, _first_counter_j(gpu))])
            before = known[-1]
            at_s = event.began_s + event.elapsed_s
            if at_s < before.at_s or gpu["energy_j"] < before.energy_j or gpu["seen_s"] < before.seen_s:
                continue
            sampled_j = min(gpu["sampled_j"], gpu["energy_j"])
            known.append(Point(at_s, gpu["energy_j"], sampled_j, gpu["seen_s"], gpu["counter_j"]))
            last[key] = gpu
    return [
        Trace(uuid, writer, tuple(found), _share(last[uuid, writer]["share"]), max(0, last[uuid, writer]["resets"]))
        for (uuid, writer), found in points.items()
        if len(found) > 1
    ]


def _first_counter_j(gpu: GpuCounted) -> float | None:
    """Return the counter at the sampler's start, from a reading; None if the counter was reset or not read."""
    if gpu["counter_j"] is None or gpu["resets"] or gpu["sampled_j"]:
        return None
    return gpu["counter_j"] - gpu["energy_j"] / _share(gpu["share"])


def spans_of(traces: Iterable[Trace]) -> dict[str, list[Trace]]:
    spans: dict[str, list[Trace]] = {}
    for trace in traces:
        spans.setdefault(trace.uuid, []).append(trace)
    return spans


def spans_in(state: State) -> Spans:
    """Return the traces of all attempts in the ledger, among which nothing may be counted twice."""
    attempts = (attempt for stage in state.stages.values() for attempt in stage.attempts_by_key.values())
    return spans_of(trace for attempt in attempts if attempt.readings for trace in traces_of(attempt.readings.values()))


def pieces_of(trace: Trace, spans: Spans, own: frozenset[str]) -> list[Piece]:
    """Split a trace into pieces, dividing energy among all overlapping samplers of the UUID, and time among `own`.

    `own` are the attempt's writers: its time is observed once, however many other attempts observe it too.
    """
    others = [
        other
        for other in spans.get(trace.uuid, ())
        if other.writer != trace.writer and other.start_s < trace.end_s and other.end_s > trace.start_s
    ]
    if not others:
        return [_piece(first, last) for first, last in pairwise(trace.points)]
    cuts: dict[float, float | None] = {end.at_s: end.counter_j for other in others for end in other.ends}
    inner = [
        _at(trace, instant_s, counter_j)
        for instant_s, counter_j in cuts.items()
        if trace.start_s < instant_s < trace.end_s
    ]
    pieces = []
    for first, last in pairwise(sorted({point.at_s: point for point in (*inner, *trace.points)}.values())):
        seeing = [other.writer for other in others if other.start_s <= first.at_s and other.end_s >= last.at_s]
        among, among_own = 1 + len(seeing), 1 + sum(writer in own for writer in seeing)
        pieces.append(_piece(first, last, among, among_own))
    return pieces


def _piece(first: Point, last: Point, among: int = 1, among_own: int = 1) -> Piece:
    return Piece(
        first.at_s,
        last.at_s,
        (last.energy_j - first.energy_j) / among,
        (last.sampled_j - first.sampled_j) / among,
        (last.seen_s - first.seen_s) / among_own,
    )


def last_power_w(pieces: Sequence[Piece]) -> float | None:
    """Return the mean power of the last piece, or of all if it is short; None if nothing was observed."""
    weighed = pieces[-1:] if pieces and pieces[-1].seen_s >= LATEST_WEIGHS_S else pieces
    seen_s = fsum(piece.seen_s for piece in weighed)
    return fsum(piece.energy_j for piece in weighed) / seen_s if seen_s > 0 else None


def _at(trace: Trace, instant_s: float, counter_j: float | None) -> Point:
    """Interpolate between two points by the counter that another sampler read at that time, otherwise linearly."""
    index = bisect_right(trace.points, instant_s, key=lambda point: point.at_s)
    before, after = trace.points[index - 1], trace.points[index]
    even = (instant_s - before.at_s) / (after.at_s - before.at_s)
    part = _counted_part(trace, before, counter_j, after)
    part = even if part is None else part
    return Point(
        instant_s,
        before.energy_j + part * (after.energy_j - before.energy_j),
        before.sampled_j + part * (after.sampled_j - before.sampled_j),
        before.seen_s + even * (after.seen_s - before.seen_s),
        counter_j,
    )


def _counted_part(trace: Trace, before: Point, counter_j: float | None, after: Point) -> float | None:
    """Return the share of the energy between two points drawn up to a counter value; None if the counter was reset."""
    if before.counter_j is None or counter_j is None or after.counter_j is None:
        return None
    grown_j, energy_j = after.counter_j - before.counter_j, after.energy_j - before.energy_j
    if not before.counter_j <= counter_j <= after.counter_j or not isclose(
        grown_j * trace.share, energy_j, rel_tol=1e-6, abs_tol=1.0
    ):
        return None
    return (counter_j - before.counter_j) / grown_j if grown_j else None


def _is_amount(value: float) -> bool:
    return isfinite(value) and value >= 0


def _share(value: float) -> float:
    return value if isfinite(value) and 0 < value <= 1 else 1.0
