"""Cells of a record to a `JobRow`: which column holds what is decided once a dump."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from detour.sacct.columns import FIELDS, Cells
from detour.sacct.rows import JobRow
from detour.sacct.values import (
    Tres,
    parse_count,
    parse_duration_s,
    parse_energy_j,
    parse_exit,
    parse_gres,
    parse_limit_s,
    parse_shown_id,
    parse_state,
    parse_tres,
)

_NOT_ASSIGNED = frozenset({"none assigned", "(null)", "none"})
"""A NodeList, in lower case, of a job that never got nodes."""
_WAITS, _LIVES = frozenset({"PENDING", "CONFIGURING"}), frozenset({"RUNNING", "SUSPENDED", "COMPLETING", "STOPPED"})
_MANY = 1 << 16
"""Most values repeat: so many different ones of a kind are remembered."""
_PLAIN = ("user", "account", "partition", "qos", "cluster")
"""Names without blanks."""


class BadCell(ValueError):
    """A value that is not of its column's kind."""

    def __init__(self, field: str, text: str, expected: str) -> None:
        super().__init__(f"{text!r} where {expected} was expected")
        self.field, self.text, self.expected = field, text, expected


class RowBuilder:
    """Rows of one dump. `at`: our field -> index of its cell, in records of `width` cells."""

    def __init__(self, at: Mapping[str, int], width: int, parse_time: Callable[[str], float | None]) -> None:
        self._in_order = itemgetter(*(at.get(field, width) for field in FIELDS))
        self._time = parse_time
        self._duration = lru_cache(_MANY)(parse_duration_s)
        self._limit = lru_cache(_MANY)(parse_limit_s)
        self._count = lru_cache(_MANY)(parse_count)
        self._exit = lru_cache(_MANY)(parse_exit)
        self._state = lru_cache(_MANY)(parse_state)
        self._tres = lru_cache(_MANY)(parse_tres)
        self._gres = lru_cache(_MANY)(parse_gres)
        self._word = lru_cache(_MANY)(_word)
        kinds: dict[Callable[[str], Any], tuple[str, ...]] = {
            parse_shown_id: ("job",),
            self._time: ("submit", "eligible", "start", "end"),
            self._duration: ("elapsed_raw", "elapsed"),
            self._limit: ("limit", "limit_minutes"),
            self._count: ("array_job", "array_task", "n_nodes", "n_cpus", "n_gpus", "restarts"),
            self._exit: ("exit", "derived_exit"),
            self._tres: ("allocated", "requested"),
            parse_energy_j: ("energy_raw", "energy"),
            _plain: _PLAIN,
        }
        self._typed = [(field, at[field], parse) for parse, fields in kinds.items() for field in fields if field in at]

    def sound(self, cells: Sequence[str]) -> bool:
        """Whether all cells can be of their columns' kinds."""
        return self._first_bad(cells) is None

    def __call__(self, cells: Sequence[str]) -> JobRow | None:
        """None for a step, which is part of its job's row. Raises BadCell."""
        try:
            return self._row(cells)
        except ValueError:
            if (bad := self._first_bad(cells)) is None:
                raise
            raise bad from None

    def _first_bad(self, cells: Sequence[str]) -> BadCell | None:
        for field, index, parse in self._typed:
            try:
                parse(cells[index])
            except ValueError as error:
                return BadCell(field, cells[index], str(error))
        return None

    def _row(self, cells: Sequence[str]) -> JobRow | None:
        cell = Cells._make(self._in_order([*cells, ""]))
        shown = parse_shown_id(cell.job or cell.raw_id)
        if shown is None or "." in cell.raw_id:
            return None
        count, word = self._count, self._word
        word_of_state, cancelled_by = self._state(cell.state)
        held = self._tres(cell.allocated)
        asked = self._tres(cell.requested)
        start_s, end_s = self._time(cell.start), self._time(cell.end)
        elapsed_s = self._duration(cell.elapsed_raw or cell.elapsed)
        if word_of_state in _WAITS or word_of_state in _LIVES:
            end_s = None
        if elapsed_s is None and start_s is not None and end_s is not None:
            elapsed_s = max(0, end_s - start_s)
        if _never_ran(word_of_state, cell.nodes, count(cell.n_nodes), elapsed_s):
            start_s, elapsed_s = None, 0
        exit_code, signal = self._exit(cell.exit)
        gpus = self._gpus(cell.n_gpus, cell.allocated, held, cell.allocated_gres, asked.gpus, cell.requested_gres)
        return JobRow(
            job_id=int(cell.raw_id) if cell.raw_id.isdigit() else shown.id,
            shown_id=cell.job or cell.raw_id,
            array_job_id=shown.array_id or count(cell.array_job),
            array_task=count(cell.array_task) if cell.array_task else shown.task,
            tasks=shown.tasks,
            name=cell.name.strip() or None,
            user=word(cell.user),
            account=word(cell.account),
            partition=word(cell.partition),
            qos=word(cell.qos),
            cluster=word(cell.cluster),
            state=word_of_state,
            cancelled_by=cancelled_by,
            submit_s=self._time(cell.submit),
            eligible_s=self._time(cell.eligible),
            start_s=start_s,
            end_s=end_s,
            elapsed_s=elapsed_s,
            limit_s=self._limit(cell.limit_minutes or cell.limit),
            exit_code=exit_code,
            signal=signal,
            derived_exit_code=self._exit(cell.derived_exit)[0],
            node_list=None if not cell.nodes or cell.nodes.lower() in _NOT_ASSIGNED else cell.nodes,
            n_nodes=count(cell.n_nodes) if cell.n_nodes else held.nodes,
            n_cpus=count(cell.n_cpus) if cell.n_cpus else held.cpus,
            n_gpus=gpus,
            gpu_type=held.gpu_type or (self._gres(cell.allocated_gres).gpu_type if cell.allocated_gres else None),
            billing=held.billing,
            allocated_tres=cell.allocated or None,
            requested_tres=cell.requested or None,
            comment=word(cell.comment),
            reason=word(cell.reason),
            consumed_energy_j=parse_energy_j(cell.energy_raw or cell.energy),
            restarts=count(cell.restarts),
        )

    def _gpus(
        self, column: str, allocated: str, held: Tres, allocated_gres: str, asked: int | None, requested_gres: str
    ) -> int | None:
        """Allocated GPUs. A site that does not track them lists an allocation without any: then it is not 0 where some
        were requested, but unknown.
        """
        if column:
            return self._count(column)
        if held.gpus is not None:
            return held.gpus
        if allocated_gres and (gpus := self._gres(allocated_gres).gpus) is not None:
            return gpus
        requested = asked or (self._gres(requested_gres).gpus if requested_gres else None)
        return 0 if allocated and not requested else None


def _never_ran(state: str | None, nodes: str, n_nodes: int | None, elapsed_s: float | None) -> bool:
    """sacct gives a job that was cancelled while it waited a start, which is its end. Its node list tells; where there
    is none, a cancelled job without any time on nodes is taken for one.
    """
    if nodes:
        return nodes.lower() in _NOT_ASSIGNED
    return state in _WAITS or n_nodes == 0 or (state == "CANCELLED" and not elapsed_s)


def _word(text: str) -> str | None:
    return None if text.lower() in ("", "none", "(null)") else text.strip()


def _plain(text: str) -> None:
    if " " in text.strip():
        raise ValueError("a name without blanks")
