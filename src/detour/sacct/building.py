"""Cells of a record to a `JobRow`: which column holds what is decided once a dump."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from detour.sacct.columns import FIELDS
from detour.sacct.rows import JobRow
from detour.sacct.shapes import NOT_ASSIGNED, Shapes, nodes_text, plain_word, state_word, tres_text
from detour.sacct.values import (
    ID_DIGITS,
    ShownId,
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

_WAITS = frozenset({"PENDING", "CONFIGURING"})
_LIVES = _WAITS | {"RUNNING", "SUSPENDED", "COMPLETING", "STOPPED"}
_MANY = 1 << 16
"""Most values repeat: so many different ones of a kind are remembered."""
_TELLING = ("job", "raw_id", "submit", "eligible", "start", "end", "elapsed")
"""By one of which a record's first line is known from the rest of a name."""
_PLAIN = ("user", "account", "partition", "qos", "cluster")
"""Names without blanks."""


class BadCell(ValueError):
    """A value that is not of its column's kind."""

    def __init__(self, field: str, text: str, expected: str) -> None:
        super().__init__(f"{text!r} where {expected} was expected")
        self.field, self.text, self.expected = field, text, expected


class RowBuilder:
    """Rows of one dump.

    at           our field -> index of its cell, in records as `header` names them
    parse_later  as `parse_time`, but of the hour that a clock repeats in autumn it takes the second
    opaque_ids   whether a job may have an id that is none of Slurm's, as in tables that hide them
    """

    def __init__(
        self,
        header: Sequence[str],
        at: Mapping[str, int],
        parse_time: Callable[[str], float | None],
        parse_later: Callable[[str], float | None] | None = None,
        *,
        opaque_ids: bool = False,
    ) -> None:
        self._id: Callable[[str], ShownId | None] = _any_id if opaque_ids else parse_shown_id
        self._in_order = itemgetter(*(at.get(field, len(header)) for field in FIELDS))
        self._time = parse_time
        self._later = parse_later or parse_time
        self._limit = lru_cache(_MANY)(parse_limit_s)
        self._count = lru_cache(_MANY)(parse_count)
        self._exit = lru_cache(_MANY)(parse_exit)
        self._state = lru_cache(_MANY)(parse_state)
        self._tres = lru_cache(_MANY)(parse_tres)
        self._gres = lru_cache(_MANY)(parse_gres)
        self._word = lru_cache(_MANY)(_word)
        kinds: dict[Callable[[str], Any], tuple[str, ...]] = {
            self._id: ("job", "raw_id"),
            self._time: ("submit", "eligible", "start", "end"),
            parse_duration_s: ("elapsed_raw", "elapsed", "suspended"),
            self._limit: ("limit", "limit_minutes"),
            self._count: ("array_job", "array_task", "n_nodes", "n_cpus", "n_gpus", "restarts"),
            self._exit: ("exit", "derived_exit"),
            self._tres: ("allocated", "requested"),
            tres_text: ("allocated", "requested"),
            nodes_text: ("nodes",),
            parse_energy_j: ("energy_raw", "energy"),
            plain_word: _PLAIN,
            state_word: ("state",),
        }
        self._typed = [(field, at[field], parse) for parse, fields in kinds.items() for field in fields if field in at]
        self._parsers = {
            column: [parse for _, index, parse in self._typed if index == column] for column in at.values()
        }
        self._shapes = Shapes(header, at, parse_time)

    def beginning(self, free: Sequence[int]) -> Callable[[Sequence[str]], bool | None]:
        """Whether a line can be the first of a record, by its cells before any of `free`, the columns of free text;
        None where these cells do not tell.
        """
        before = min(free, default=0)
        typed = [(index, parse) for _, index, parse in self._typed if index < before]
        telling = [index for field, index, _ in self._typed if index < before and field in _TELLING]

        def begins(cells: Sequence[str]) -> bool | None:
            if len(cells) <= before:
                return False
            try:
                for index, parse in typed:
                    parse(cells[index])
            except ValueError:
                return False
            return any(cells[index].strip() for index in telling) or None

        return begins

    def fits(self, column: int, cell: str) -> bool:
        """Whether a cell can stand in a column, in a dump of sacct's own."""
        try:
            for parse in self._parsers.get(column, ()):
                parse(cell)
        except ValueError:
            return False
        return self._shapes.fits(column, cell)

    def sound(self, cells: Sequence[str]) -> bool:
        """Whether cells that fit each can be a record together."""
        return self._shapes.sound(cells)

    def figures(self, cells: Sequence[str]) -> object:
        """Of a record: all that is read of it but free text."""
        row = self._row(cells)
        return row and row._replace(name=None, comment=None, reason=None)

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
        (
            job, raw_id, array_job, array_task, name, user, account, partition, qos, cluster, state, submit, eligible,
            start, end, elapsed_raw, elapsed, suspended, limit_minutes, limit, exit_, derived_exit, nodes, n_nodes,
            n_cpus, n_gpus, allocated, requested, allocated_gres, requested_gres, comment, reason, energy_raw, energy,
            restarts,
        ) = self._in_order([*cells, ""])  # fmt: skip
        shown = self._id(job or raw_id)
        if shown is None or "." in raw_id:
            return None
        count, word = self._count, self._word
        state, cancelled_by = self._state(state)
        held = self._tres(allocated)
        submit_s, start_s, end_s = self._time(submit), self._time(start), self._time(end)
        eligible_s = submit_s if eligible == submit else self._time(eligible)
        elapsed_s = parse_duration_s(elapsed_raw or elapsed)
        if state in _LIVES:
            end_s = None
        if start_s is not None and end_s is not None:
            if elapsed_s is None:
                elapsed_s = max(0, end_s - start_s - (parse_duration_s(suspended) or 0))
            elif end_s - start_s != elapsed_s:
                start_s, end_s = self._agreeing(start, end, start_s, end_s, elapsed_s)
        assigned = bool(nodes) and nodes.lower() not in NOT_ASSIGNED
        nodes_held = count(n_nodes) if n_nodes else held.nodes
        cpus_held = count(n_cpus) if n_cpus else held.cpus
        if not assigned if nodes else _never_ran(state, bool(allocated), nodes_held, cpus_held, elapsed_s):
            start_s, elapsed_s = None, 0
        exit_code, signal = self._exit(exit_)
        gpus, gpu_type = self._gpus(n_gpus, allocated, held, allocated_gres, requested, requested_gres)
        return JobRow._make((
            int(raw_id) if raw_id.isdecimal() and len(raw_id) <= ID_DIGITS else shown.id,
            job or raw_id,
            shown.array_id or (count(array_job) if array_job else None),
            count(array_task) if array_task else shown.task,
            shown.tasks,
            name.strip() or None,
            word(user), word(account), word(partition), word(qos), word(cluster),
            state, cancelled_by,
            submit_s, eligible_s, start_s, end_s, elapsed_s,
            self._limit(limit_minutes or limit),
            exit_code, signal,
            self._exit(derived_exit)[0] if derived_exit else None,
            nodes if assigned else None,
            nodes_held,
            cpus_held,
            gpus, gpu_type,
            held.billing, allocated or None, requested or None,
            word(comment) if comment else None,
            word(reason) if reason else None,
            parse_energy_j(energy_raw or energy) if energy_raw or energy else None,
            count(restarts) if restarts else None,
        ))  # fmt: skip

    def _agreeing(self, start: str, end: str, start_s: float, end_s: float, elapsed_s: float) -> tuple[float, float]:
        """Start and end: of an hour that a clock repeats, the one that agrees with the time between them."""
        ways = ((self._later(start), end_s), (start_s, self._later(end)))
        return next(
            ((a, b) for a, b in ways if a is not None and b is not None and b - a == elapsed_s), (start_s, end_s)
        )

    def _gpus(
        self, column: str, allocated: str, held: Tres, allocated_gres: str, requested: str, requested_gres: str
    ) -> tuple[int | None, str | None]:
        """Allocated GPUs, and their type. A site that does not track them lists an allocation without any: then it is
        not 0 where some were requested, or where a resource is listed that only the site knows, but unknown.
        """
        listed = held if held.gpus is not None or not allocated_gres else self._gres(allocated_gres)
        if column:
            return self._count(column), listed.gpu_type
        if listed.gpus is not None or not (allocated or allocated_gres):
            return listed.gpus, listed.gpu_type
        asked = self._tres(requested).gpus or (self._gres(requested_gres).gpus if requested_gres else None)
        return (None if asked or held.has_nameless else 0), None


def _never_ran(
    state: str | None, allocated: bool, n_nodes: int | None, n_cpus: int | None, elapsed_s: float | None
) -> bool:
    """sacct gives a job that was cancelled while it waited a start, which is its end. Its node list tells; where there
    is none, its allocation; where there is neither, a cancelled job without any time on nodes is taken for one.
    """
    if state in _WAITS or n_nodes == 0:
        return True
    return not elapsed_s and not allocated and (state == "CANCELLED" or n_cpus == 0)


def _word(text: str) -> str | None:
    return None if text.lower() in ("", "none", "(null)") else text.strip()


def _any_id(text: str) -> ShownId | None:
    try:
        return parse_shown_id(text)
    except ValueError:
        return ShownId(None)
