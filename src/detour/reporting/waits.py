"""How long jobs were pending for resources, from when they became eligible to start; pure.

A dependent first waits for its inputs, so its wait begins when the last of them is done; that of a requeued job begins
at the end of the previous attempt.
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
    """Return when a job became eligible; None if no scheduler accepted it, or the end of an input is unknown."""
    ended = list(inputs_s)
    if accepted_s is None or None in ended:
        return None
    return max([accepted_s, *(end for end in ended if end is not None), *([] if before_s is None else [before_s])])


def wait_rows(waits_s: Mapping[tuple[str, str], Iterable[float]]) -> list[WaitRow]:
    """Return a row per (cluster, kind of stage); `p90_s` is interpolated linearly."""
    ordered = {key: sorted(max(0.0, wait_s) for wait_s in waits) for key, waits in waits_s.items()}
    return [
        WaitRow(*key, len(waits), _quantile(waits, 5), _quantile(waits, 9), waits[-1], fsum(waits))
        for key, waits in ordered.items()
        if waits
    ]


def _quantile(ordered: list[float], tenths: int) -> float:
    return ordered[0] if len(ordered) == 1 else quantiles(ordered, n=10, method="inclusive")[tenths - 1]
