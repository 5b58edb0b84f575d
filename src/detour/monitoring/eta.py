"""When a chain will end: what is left of each stage, along the longest path. A pure function of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from detour.monitoring.status import StageRow


class Outlook(NamedTuple):
    ends_s: float | None
    """When the last stage is expected to end, in seconds since the epoch; None if no duration is known."""
    unknown: int
    """Number of stages of unknown duration, which count as zero: the end is then not before `ends_s`."""
    path: tuple[str, ...]
    """Ids of the stages that the end waits for, in order."""


def outlook(rows: Sequence[StageRow], now_s: float) -> Outlook:
    """`rows` must be in plan order. Stages that failed or were cancelled, and their dependents, do not count.

    A stage starts when Slurm expects it to or as soon as its inputs are done, and then takes its remaining work at its
    recent rate, or the time it was priced at.
    """
    ends_s: dict[str, float] = {}
    before: dict[str, str | None] = {}
    unknown, dropped = 0, set[str]()
    for row in rows:
        if row.status == "done":
            continue
        if row.status in ("failed", "cancelled") or not dropped.isdisjoint(row.inputs):
            dropped.add(row.id)
            continue
        waits_for = max((one for one in row.inputs if one in ends_s), key=ends_s.__getitem__, default=None)
        start_s = max(now_s, row.starts_s or 0.0, ends_s[waits_for] if waits_for else 0.0)
        unknown += row.left_s is None
        ends_s[row.id] = start_s + (row.left_s or 0.0)
        before[row.id] = waits_for
    last = max(reversed(ends_s), key=ends_s.__getitem__, default=None)
    path: list[str] = []
    while last is not None:
        path.insert(0, last)
        last = before[last]
    is_known = len(ends_s) > unknown
    return Outlook(max(ends_s.values()) if is_known else None, unknown, tuple(path))
