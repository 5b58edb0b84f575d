"""What one attempt adds to which period, by one of several conventions used in published statistics. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from detour.sacct.rows import JobRow
from detour.usage.calendar import Calendar
from detour.usage.totals import ONE, micro

_WAITS = ONE.wait_us + ONE.queue_wait_us
_NOTHING_HELD = ONE.no_cpus + ONE.no_gpus + ONE.no_nodes
UNDATED = "unknown"
"""Label of the period for attempts without a date."""
ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
        *("REVOKED", "TIMEOUT"),
    }
)
"""States that Open XDMoD counts."""


class Counting(StrEnum):
    """The period in which an attempt counts."""

    SPLIT = "split"
    """Hours in the periods in which they were used, to the second; the job in the period in which it ended (or was last
    seen), its wait in that of its start.
    """
    SUBMIT = "submit"
    """Everything in the period of its submission."""
    START = "start"
    END = "end"
    XDMOD = "xdmod"
    """As in Open XDMoD: like `split`, but only ended jobs count, by their end minus start (including time suspended),
    and a span of n seconds is n + 1 instants, each in its own period.
    """

    @property
    def splits(self) -> bool:
        return self in (Counting.SPLIT, Counting.XDMOD)


@dataclass(frozen=True, slots=True)
class Rule:
    counting: Counting
    calendar: Calendar | None
    """None if no table is by period."""
    since_s: float | None = None
    until_s: float | None = None

    def shares(self, row: JobRow) -> dict[str, int]:
        """Return what a row adds, as digits of `totals`, by period label; the label is empty without a calendar."""
        return self._of_one_period(row) or self._of_several(row)

    def _of_one_period(self, row: JobRow) -> dict[str, int] | None:
        """Return the share of a job within a single period, the usual case; None if that takes a closer look."""
        start_s, end_s, held_s, calendar = row.start_s, row.end_s, row.elapsed_s, self.calendar
        if (
            start_s is None or end_s is None or held_s is None or self.counting is not Counting.SPLIT
            or self.since_s is not None or self.until_s is not None
        ):  # fmt: skip
            return None
        label = "" if calendar is None else calendar.common_label(start_s, max(end_s, start_s + held_s))
        return None if label is None else {label: _whole(row, held_s)}

    def _of_several(self, row: JobRow) -> dict[str, int]:
        if self.counting is Counting.XDMOD and not (row.ran and row.end_s is not None and row.state in ENDED):
            return {}
        seen_s, held_s = last_seen_s(row), _held_s(row, self.counting)
        if self.counting.splits and row.start_s is not None:
            return self._split(row, row.start_s, seen_s, held_s)
        at_s = seen_s if self.counting.splits else _anchor_s(row, self.counting)
        return {self._label(at_s): _whole(row, held_s)} if self._holds(at_s) else {}

    def _split(self, row: JobRow, start_s: float, seen_s: float | None, held_s: float) -> dict[str, int]:
        found: defaultdict[str, int] = defaultdict(int)
        if self._holds(seen_s):
            found[self._label(seen_s)] = _job(row)
        each_us = _held_us(row.n_cpus, row.n_gpus, row.n_nodes)
        for label, seconds in self._pieces(start_s, row.end_s, held_s):
            found[label] += each_us * micro(seconds)
        if self._holds(start_s) and (wait := _wait(row)):
            found[self._label(start_s)] += wait
        return found

    def _pieces(self, start_s: float, ended_s: float | None, held_s: float) -> list[tuple[str, float]]:
        """Return (label, seconds) of the time on its nodes, restricted to the requested period.

        Time suspended is spread evenly, since dumps do not have its instants.
        """
        end_s = max(start_s + held_s, ended_s or 0.0)
        low = start_s if self.since_s is None else max(start_s, self.since_s)
        high = end_s if self.until_s is None else min(end_s, self.until_s)
        if low >= high:
            return []
        cuts = self.calendar.pieces(low, high) if self.calendar else [("", low, high)]
        if self.counting is not Counting.XDMOD:
            active = held_s / (end_s - start_s)
            return [(label, (last_s - first_s) * active) for label, first_s, last_s in cuts]
        each = held_s / (held_s + 1)
        return [(label, each * (last_s - first_s + (last_s == end_s))) for label, first_s, last_s in cuts]

    def _holds(self, at_s: float | None) -> bool:
        """Whether an instant lies in the requested period; an unknown one does only if there is no limit."""
        if at_s is None:
            return self.since_s is None and self.until_s is None
        return (self.since_s is None or at_s >= self.since_s) and (self.until_s is None or at_s < self.until_s)

    def _label(self, at_s: float | None) -> str:
        if self.calendar is None:
            return ""
        return UNDATED if at_s is None else self.calendar.label(at_s)


def last_seen_s(row: JobRow) -> float | None:
    """Return the end of an attempt; without one, the time of the dump if known, otherwise its start or submission."""
    if row.end_s is not None:
        return row.end_s
    return row.submit_s if row.start_s is None else row.start_s + (row.elapsed_s or 0)


def _anchor_s(row: JobRow, counting: Counting) -> float | None:
    if counting is Counting.SUBMIT:
        return row.submit_s
    if counting is Counting.START and row.start_s is not None:
        return row.start_s
    return last_seen_s(row)


def _held_s(row: JobRow, counting: Counting) -> float:
    """Return the seconds on its nodes; 0 if unknown, and the row then counts as one without a figure."""
    if row.start_s is None:
        return 0
    if counting is Counting.XDMOD:
        return max(0, (row.end_s or row.start_s) - row.start_s)
    return row.elapsed_s or 0


def _whole(row: JobRow, held_s: float) -> int:
    if row.start_s is None:
        return _job(row)
    return _job(row) + _wait(row) + _held_us(row.n_cpus, row.n_gpus, row.n_nodes) * micro(held_s)


def _job(row: JobRow) -> int:
    """Return the counts of a job; unknown resources do not matter if it spent no time on its nodes."""
    if row.start_s is None:
        is_over = row.end_s is not None or row.state in ENDED
        return row.tasks * (ONE.never_ran if is_over else ONE.pending)
    counted = ONE.jobs if row.end_s is not None else ONE.jobs + ONE.running
    if row.elapsed_s is None:
        return counted + _NOTHING_HELD
    return counted + _unknown(row.n_cpus, row.n_gpus, row.n_nodes) if row.elapsed_s else counted


@lru_cache(1 << 14)
def _unknown(cpus: int | None, gpus: int | None, nodes: int | None) -> int:
    return ONE.no_cpus * (cpus is None) + ONE.no_gpus * (gpus is None) + ONE.no_nodes * (nodes is None)


def _wait(row: JobRow) -> int:
    """Return the waits of a job that ran."""
    start_s, submit_s, eligible_s = row.start_s, row.submit_s, row.eligible_s
    assert start_s is not None
    if submit_s == eligible_s and submit_s is not None:
        return _WAITS * micro(max(0, start_s - submit_s))
    wait = ONE.no_wait if submit_s is None else ONE.wait_us * micro(max(0, start_s - submit_s))
    if eligible_s is None:
        return wait + ONE.no_queue_wait
    return wait + ONE.queue_wait_us * micro(max(0, start_s - eligible_s))


@lru_cache(1 << 14)
def _held_us(cpus: int | None, gpus: int | None, nodes: int | None) -> int:
    """Return what one microsecond on its nodes adds."""
    return (
        (ONE.unknown_cpu_us if cpus is None else ONE.cpu_us * cpus)
        + (ONE.unknown_gpu_us if gpus is None else ONE.gpu_us * gpus)
        + (ONE.unknown_node_us if nodes is None else ONE.node_us * nodes)
    )
