"""How long jobs waited for resources: from the moment that nothing but the queue held them; pure.

A dependent is held by its inputs first, so its wait begins when the last of them is there; a requeued job's begins at
the end of the attempt before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from statistics import quantiles


@dataclass(frozen=True, slots=True)
class WaitRow:
    cluster: str
    kind: str
    starts: int
    median_s: float
    p90_s: float
    longest_s: float
    total_s: float


def eligible_s(accepted_s: float | None, inputs_s: Iterable[float | None], before_s: float | None) -> float | None:
    """When a job could have started; None for one that no scheduler had, or whose inputs were never seen to end."""
    ended = list(inputs_s)
    if accepted_s is None or None in ended:
        return None
    return max([accepted_s, *(end for end in ended if end is not None), *([] if before_s is None else [before_s])])


def wait_rows(waits_s: Mapping[tuple[str, str], Iterable[float]]) -> list[WaitRow]:
    """By (cluster, kind of stage); `p90_s` by linear interpolation."""
    rows = []
    for (cluster, kind), of_kind in waits_s.items():
        ordered = sorted(max(0.0, wait) for wait in of_kind)
        if ordered:
            rows.append(
                WaitRow(
                    cluster,
                    kind,
                    len(ordered),
                    _quantile(ordered, 5),
                    _quantile(ordered, 9),
                    ordered[-1],
                    fsum(ordered),
                )
            )
    return rows


def _quantile(ordered: list[float], tenths: int) -> float:
    return ordered[0] if len(ordered) == 1 else quantiles(ordered, n=10, method="inclusive")[tenths - 1]
