"""Compare finished stages with the prices quoted before they ran; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from detour.accounting.energy import Band
from detour.grouping import grouped
from detour.ledger.events import ChainPriced, PriceQuoted
from detour.ledger.record import Entry
from detour.pricing.history import Finished
from detour.pricing.price import Price
from detour.times import is_duration


class Quoted(NamedTuple):
    """The price quoted for a stage, and when."""

    at_s: float
    wall_s: Band | None
    gpu_hours: Band | None
    source: str
    cluster: str
    gpus: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One finished stage and its last quote, None if it was not priced."""

    finished: Finished
    quoted: Quoted | None

    @property
    def error(self) -> float | None:
        """Actual over expected duration, minus 1: 0.1 is 10 % longer than expected. None if no duration was quoted."""
        expected = self.quoted.wall_s.expected if self.quoted and self.quoted.wall_s else None
        return self.finished.allocated_s / expected - 1 if expected else None

    @property
    def is_within(self) -> bool | None:
        """Whether the duration lay in the quoted band; None if none was quoted."""
        band = self.quoted.wall_s if self.quoted else None
        return None if band is None else band.low <= self.finished.allocated_s <= band.high


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How well stages of one kind were priced."""

    kind: str
    stages: int
    priced: int
    """Stages with a quoted duration, which the following figures are about."""
    expected_s: float | None
    actual_s: float | None
    median_error: float | None
    largest_error: float | None
    """The error of the largest magnitude, with its sign."""
    within: int


def chain_priced(name: str, cluster: str, prices: Mapping[str, Price]) -> ChainPriced:
    """Build the event that `quotes` reads later, with stages (by id) grouped by price."""
    groups = grouped((price, stage_id) for stage_id, price in prices.items())
    quoted: list[PriceQuoted] = [
        {
            "kind": price.kind,
            "gpus": price.gpus,
            "cores": price.cores,
            "wall_s": _band_data(price.wall_s) if price.wall_s and is_duration(price.wall_s.high) else None,
            "gpu_hours": _band_data(price.gpu_hours),
            "source": price.source,
            "stages": stages,
        }
        for price, stages in groups.items()
    ]
    return ChainPriced(name=name, cluster=cluster, prices=quoted)


def quotes(entries: Iterable[Entry[ChainPriced]]) -> dict[str, list[Quoted]]:
    """Return stage id -> its quotes, oldest first."""
    found: dict[str, list[Quoted]] = {}
    for entry in entries:
        for price in entry.event.prices:
            quoted = Quoted(
                entry.wall_s,
                _band(price["wall_s"]),
                _band(price["gpu_hours"]),
                price["source"],
                entry.event.cluster,
                price["gpus"],
            )
            for stage_id in price["stages"]:
                found.setdefault(stage_id, []).append(quoted)
    for of_stage in found.values():
        of_stage.sort(key=lambda quoted: quoted.at_s)
    return found


def compare(finished: Iterable[Finished], quoted: Mapping[str, list[Quoted]]) -> list[Compared]:
    """Pair each stage with its last quote from before it first ran, in the order in which they ended.

    Quotes for the cluster and GPUs it ran on come first: a chain that joins a job in flight may quote it for others.
    """
    rows = []
    for one in sorted(finished, key=lambda one: one.ended_s):
        before = [quote for quote in quoted.get(one.stage.id, ()) if quote.at_s <= one.started_s]
        same = [quote for quote in before if (quote.cluster, quote.gpus) == (one.cluster, one.gpus)]
        rows.append(Compared(one, next(reversed(same or before), None)))
    return rows


def accuracy(rows: Iterable[Compared]) -> list[Accuracy]:
    """Return the accuracy of each kind, in the order in which the kinds first ended."""
    by_kind = grouped((row.finished.stage.kind, row) for row in rows)
    return [_accuracy(kind, of_kind) for kind, of_kind in by_kind.items()]


def _accuracy(kind: str, rows: list[Compared]) -> Accuracy:
    priced = [(row, row.error) for row in rows]
    errors = [error for _, error in priced if error is not None]
    known = [row for row, error in priced if error is not None]
    return Accuracy(
        kind=kind,
        stages=len(rows),
        priced=len(errors),
        expected_s=sum(row.quoted.wall_s.expected for row in known if row.quoted and row.quoted.wall_s)
        if known
        else None,
        actual_s=sum(row.finished.allocated_s for row in known) if known else None,
        median_error=median(errors) if errors else None,
        largest_error=max(errors, key=abs, default=None),
        within=sum(row.is_within is True for row in known),
    )


def _band_data(band: Band | None) -> list[float] | None:
    return None if band is None else [band.low, band.expected, band.high]


def _band(parts: list[float] | None) -> Band | None:
    return None if parts is None else Band(*map(float, parts))
