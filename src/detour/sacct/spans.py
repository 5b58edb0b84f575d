"""Determine when jobs waited, ran and ended, even if the columns of a dump disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from detour.sacct.allocation import Held
from detour.sacct.columns import Cells, each, either
from detour.sacct.shapes import NOT_ASSIGNED
from detour.sacct.values import parse_duration_s

_WAITS = frozenset({"PENDING", "CONFIGURING"})
_LIVES = _WAITS | {"RUNNING", "SUSPENDED", "COMPLETING", "STOPPED"}
ROUNDING_S = 1.0
Span: TypeAlias = tuple[float | None, float | None, float | None]
"""Start, end, and time on nodes."""


class Spans:
    """Determines the times of one dump's jobs.

    parse        parses a time
    parse_later  like `parse`, but takes the second of the hour that a clock repeats in autumn
    """

    def __init__(self, parse: Callable[[str], float | None], parse_later: Callable[[str], float | None]) -> None:
        self._time, self._later = parse, parse_later
        self.unexplained = 0
        """Jobs so far whose time on nodes is not the time from start to end less the suspended time."""

    def columns(
        self,
        of: Cells[Sequence[str]],
        states: Sequence[str | None],
        nodes: Sequence[str | None],
        held: Sequence[Held],
    ) -> tuple[Sequence[float | None], ...]:
        """Return when each job was submitted, became eligible, started and ended, and its time on nodes."""
        submits_s = each(self._time, of.submit)
        eligible_s = submits_s if of.eligible == of.submit else each(self._time, of.eligible)
        starts_s, ends_s = each(self._time, of.start), each(self._time, of.end)
        elapsed_s = each(parse_duration_s, either(of.elapsed_raw, of.elapsed))
        for at, (node_list, state, start_s, end_s, span_s) in enumerate(
            zip(nodes, states, starts_s, ends_s, elapsed_s, strict=True)
        ):
            if node_list is None or state in _LIVES or start_s is None or end_s is None or end_s - start_s != span_s:
                starts_s[at], ends_s[at], elapsed_s[at] = self._span(of, at, state, held[at], (start_s, end_s, span_s))
        return submits_s, eligible_s, starts_s, ends_s, elapsed_s

    def _span(self, of: Cells[Sequence[str]], at: int, state: str | None, held: Held, said: Span) -> Span:
        """Return start, end and time on nodes of a job whose columns do not simply agree."""
        start_s, end_s, elapsed_s = said
        if state in _LIVES:
            end_s = None
        elif not of.end[at] and start_s is not None and elapsed_s is not None:  # a dump without this column
            end_s = start_s + elapsed_s + (parse_duration_s(of.suspended[at]) or 0)
        if start_s is not None and end_s is not None:
            if elapsed_s is None:
                elapsed_s = max(0, end_s - start_s - (parse_duration_s(of.suspended[at]) or 0))
            elif end_s - start_s != elapsed_s:
                start_s, end_s = self._agreeing(of.start[at], of.end[at], start_s, end_s, elapsed_s)
                suspended_s = parse_duration_s(of.suspended[at]) or 0
                self.unexplained += abs(end_s - start_s - suspended_s - elapsed_s) > ROUNDING_S
        if of.nodes[at]:
            ran = nodes_held(of.nodes[at]) is not None
        else:
            ran = not _never_ran(state, bool(of.allocated[at]), held.n_nodes, held.n_cpus, elapsed_s)
        return (start_s, end_s, elapsed_s) if ran else (None, end_s, 0)

    def _agreeing(self, start: str, end: str, start_s: float, end_s: float, elapsed_s: float) -> tuple[float, float]:
        """Return start and end; in an hour that a clock repeats, choose the one that matches the elapsed time."""
        ways = ((self._later(start), end_s), (start_s, self._later(end)))
        return next(
            ((a, b) for a, b in ways if a is not None and b is not None and b - a == elapsed_s), (start_s, end_s)
        )


def nodes_held(text: str) -> str | None:
    return text if text and text.lower() not in NOT_ASSIGNED else None


def _never_ran(
    state: str | None, allocated: bool, n_nodes: int | None, n_cpus: int | None, elapsed_s: float | None
) -> bool:
    """Whether a job never ran, in a dump without node lists.

    sacct prints the end as the start of a job that was cancelled while pending. Its allocation shows this; without one,
    a cancelled job without time on nodes is assumed never to have run.
    """
    if state in _WAITS or n_nodes == 0:
        return True
    return not elapsed_s and not allocated and (state == "CANCELLED" or n_cpus == 0)
