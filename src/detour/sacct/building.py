"""Cells of a record to a `JobRow`: which column holds what is decided once a dump."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

from detour.sacct.columns import FIELDS, Cells
from detour.sacct.rows import JobRow
from detour.sacct.shapes import NOT_ASSIGNED, Shapes, nodes_text, plain_word, state_word, tres_text
from detour.sacct.values import (
    ID_DIGITS,
    ShownId,
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
Value = TypeVar("Value")
Span: TypeAlias = tuple[float | None, float | None, float | None]
"""Start, end, and time on nodes."""
_PLAIN = ("user", "account", "partition", "qos", "cluster")
"""Names without blanks."""


class Held(NamedTuple):
    """What a job has on its nodes."""

    n_nodes: int | None
    n_cpus: int | None
    n_gpus: int | None
    gpu_type: str | None
    billing: float | None


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
        self._has_float_ids = None if opaque_ids else False
        """None until the first records were seen: of a table, `17.0` may be job 17, as data frames write it."""
        self._lists_gres_alone = "allocated_gres" in at and "allocated" not in at
        self._in_order = itemgetter(*(at.get(field, len(header)) for field in FIELDS))
        self._time = parse_time
        self._later = parse_later or parse_time
        self._limit = lru_cache(_MANY)(parse_limit_s)
        self._count = lru_cache(_MANY)(parse_count)
        self._exit = lru_cache(_MANY)(parse_exit)
        self._state = lru_cache(_MANY)(parse_state)
        self._tres = lru_cache(_MANY)(parse_tres)
        self._held = lru_cache(_MANY)(self._allocation)
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
        return tuple(row._replace(name=None, comment=None, reason=None) for row in self.rows([cells]))

    def __call__(self, cells: Sequence[str]) -> JobRow | None:
        """None for a step, which is part of its job's row. Raises BadCell."""
        try:
            return next(iter(self.rows([cells])), None)
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

    def rows(self, records: Sequence[Sequence[str]]) -> list[JobRow]:
        """Of the records that are no steps. By columns: one record after the other takes twice as long.

        Raises ValueError where a cell is not of its column's kind; `__call__` says which.
        """
        if not records:
            return []
        of: Cells[Sequence[str]] = Cells._make(self._in_order([*zip(*records, strict=True), ("",) * len(records)]))
        if self._has_float_ids is None:
            self._has_float_ids = all(text.endswith(".0") for text in _either(of.job, of.raw_id))
        if self._has_float_ids:
            of = of._replace(job=_without_point(of.job), raw_id=_without_point(of.raw_id))
        shown = _each(self._id, _either(of.job, of.raw_id))
        if not all(shown) or "." in "".join(of.raw_id):
            are_jobs = [one is not None and "." not in raw for one, raw in zip(shown, of.raw_id, strict=True)]
            return self.rows(list(compress(records, are_jobs)))
        ids = [one or ShownId(None) for one in shown]
        states, cancelled_by = zip(*map(self._state, of.state), strict=True)
        held = list(
            map(
                self._held, of.n_nodes, of.n_cpus, of.n_gpus, of.allocated, of.allocated_gres, of.requested,
                of.requested_gres,
            )
        )  # fmt: skip
        nodes = _each(_nodes, of.nodes)
        exit_codes, signals = zip(*map(self._exit, of.exit), strict=True)
        columns = (
            *_ids(of, ids, self._count),
            _each(_name, of.name),
            *(_each(self._word, words) for words in (of.user, of.account, of.partition, of.qos, of.cluster)),
            states, cancelled_by,
            *self._times(of, states, nodes, held),
            _each(self._limit, _either(of.limit_minutes, of.limit)),
            exit_codes, signals,
            [code for code, _ in _each(self._exit, of.derived_exit)],
            nodes,
            *zip(*held, strict=True),
            [text or None for text in of.allocated],
            [text or None for text in of.requested],
            _each(self._word, of.comment),
            _each(self._word, of.reason),
            _each(parse_energy_j, _either(of.energy_raw, of.energy)),
            _each(self._count, of.restarts),
        )  # fmt: skip
        return list(map(JobRow._make, zip(*columns, strict=True)))

    def _times(
        self,
        of: Cells[Sequence[str]],
        states: Sequence[str | None],
        nodes: Sequence[str | None],
        held: Sequence[Held],
    ) -> tuple[Sequence[float | None], ...]:
        """When each was submitted, eligible, started and ended, and its time on nodes."""
        submits_s = _each(self._time, of.submit)
        eligible_s = submits_s if of.eligible == of.submit else _each(self._time, of.eligible)
        starts_s, ends_s = _each(self._time, of.start), _each(self._time, of.end)
        elapsed_s = _each(parse_duration_s, _either(of.elapsed_raw, of.elapsed))
        for at, (node_list, state, start_s, end_s, span_s) in enumerate(
            zip(nodes, states, starts_s, ends_s, elapsed_s, strict=True)
        ):
            if node_list is None or state in _LIVES or start_s is None or end_s is None or end_s - start_s != span_s:
                starts_s[at], ends_s[at], elapsed_s[at] = self._span(of, at, state, held[at], (start_s, end_s, span_s))
        return submits_s, eligible_s, starts_s, ends_s, elapsed_s

    def _span(self, of: Cells[Sequence[str]], at: int, state: str | None, held: Held, said: Span) -> Span:
        """Start, end and time on nodes of a job of which these do not simply agree."""
        start_s, end_s, elapsed_s = said
        if state in _LIVES:
            end_s = None
        if start_s is not None and end_s is not None:
            if elapsed_s is None:
                elapsed_s = max(0, end_s - start_s - (parse_duration_s(of.suspended[at]) or 0))
            elif end_s - start_s != elapsed_s:
                start_s, end_s = self._agreeing(of.start[at], of.end[at], start_s, end_s, elapsed_s)
        if of.nodes[at]:
            ran = _nodes(of.nodes[at]) is not None
        else:
            ran = not _never_ran(state, bool(of.allocated[at]), held.n_nodes, held.n_cpus, elapsed_s)
        return (start_s, end_s, elapsed_s) if ran else (None, end_s, 0)

    def _agreeing(self, start: str, end: str, start_s: float, end_s: float, elapsed_s: float) -> tuple[float, float]:
        """Start and end: of an hour that a clock repeats, the one that agrees with the time between them."""
        ways = ((self._later(start), end_s), (start_s, self._later(end)))
        return next(
            ((a, b) for a, b in ways if a is not None and b is not None and b - a == elapsed_s), (start_s, end_s)
        )

    def _allocation(
        self, n_nodes: str, n_cpus: str, n_gpus: str, allocated: str, allocated_gres: str, requested: str, asked: str
    ) -> Held:
        """`asked` is the requested GRES. A site that does not track GPUs lists an allocation without any: then it is
        not 0 where some were requested, or where a resource is listed that only the site knows, but unknown.
        """
        held = self._tres(allocated)
        listed = held if held.gpus is not None or not allocated_gres else parse_gres(allocated_gres)
        gpus, gpu_type = listed.gpus, listed.gpu_type
        if n_gpus:
            gpus = self._count(n_gpus)
        elif gpus is None and (allocated or allocated_gres or self._lists_gres_alone):
            wanted = self._tres(requested).gpus or (parse_gres(asked).gpus if asked else None)
            gpus, gpu_type = (None if wanted or held.has_nameless or listed.has_nameless else 0), None
        return Held(
            self._count(n_nodes) if n_nodes else held.nodes,
            self._count(n_cpus) if n_cpus else held.cpus,
            gpus,
            gpu_type,
            held.billing,
        )


def _never_ran(
    state: str | None, allocated: bool, n_nodes: int | None, n_cpus: int | None, elapsed_s: float | None
) -> bool:
    """sacct gives a job that was cancelled while it waited a start, which is its end. Its node list tells; where there
    is none, its allocation; where there is neither, a cancelled job without any time on nodes is taken for one.
    """
    if state in _WAITS or n_nodes == 0:
        return True
    return not elapsed_s and not allocated and (state == "CANCELLED" or n_cpus == 0)


def _each(parse: Callable[[str], Value], column: Sequence[str]) -> list[Value]:
    return list(map(parse, column)) if any(column) else [parse("")] * len(column)


def _without_point(column: Sequence[str]) -> list[str]:
    return [text.removesuffix(".0") for text in column]


def _either(first: Sequence[str], second: Sequence[str]) -> Sequence[str]:
    """Of two columns that say the same, the cells of the first that has any."""
    return first if all(first) else [one or other for one, other in zip(first, second, strict=True)]


def _ids(
    of: Cells[Sequence[str]], shown: Sequence[ShownId], count: Callable[[str], int | None]
) -> tuple[Sequence[object], ...]:
    """Id, the id that is shown, the array's, the number in it, and how many jobs it is."""
    own = [
        int(raw) if raw.isdecimal() and len(raw) <= ID_DIGITS else one.id
        for raw, one in zip(of.raw_id, shown, strict=True)
    ]
    arrays, tasks = _each(count, of.array_job), _each(count, of.array_task)
    return (
        own,
        _either(of.job, of.raw_id),
        [one.array_id or array for one, array in zip(shown, arrays, strict=True)],
        [task if text else one.task for one, task, text in zip(shown, tasks, of.array_task, strict=True)],
        [one.tasks for one in shown],
    )


def _nodes(text: str) -> str | None:
    return text if text and text.lower() not in NOT_ASSIGNED else None


def _name(text: str) -> str | None:
    return text.strip() or None


def _word(text: str) -> str | None:
    return None if text.lower() in ("", "none", "(null)") else text.strip()


def _any_id(text: str) -> ShownId | None:
    try:
        return parse_shown_id(text)
    except ValueError:
        return ShownId(None)
