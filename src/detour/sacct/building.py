"""Build `JobRow`s from the cells of records; the meaning of columns is determined once per dump."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import compress
from operator import itemgetter
from typing import Any

from detour.sacct.allocation import MANY, Holding
from detour.sacct.columns import FIELDS, Cells, each, either
from detour.sacct.rows import JobRow
from detour.sacct.shapes import Shapes, nodes_text, plain_word, state_word, tres_text
from detour.sacct.spans import Spans, nodes_held
from detour.sacct.values import (
    ID_DIGITS,
    ShownId,
    parse_cpu_time_s,
    parse_duration_s,
    parse_energy_j,
    parse_exit,
    parse_limit_s,
    parse_shown_id,
    parse_state,
)

_TELLING = ("job", "raw_id", "submit", "eligible", "start", "end", "elapsed")
"""Fields of which one suffices to tell a record's first line from the rest of a name."""
_COUNTS = ("array_job", "array_task", "n_nodes", "n_cpus", "n_gpus", "n_gpus_requested", "restarts")
_PLAIN = ("user", "account", "partition", "qos", "cluster")
"""Fields that are names without blanks."""


class BadCell(ValueError):
    """A value does not fit its column."""

    def __init__(self, field: str, text: str, expected: str) -> None:
        super().__init__(f"{text!r} where {expected} was expected")
        self.field, self.text, self.expected = field, text, expected


class RowBuilder:
    """Builds the rows of one dump.

    at           our field -> index of its cell in records with this `header`
    parse_later  like `parse_time`, but takes the second of the hour that a clock repeats in autumn
    opaque_ids   whether jobs may have ids that are not Slurm's, as in anonymised tables
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
        """None until the first records are seen. In a table, `17.0` may be job 17, as written by data frames."""
        self._in_order = itemgetter(*(at.get(field, len(header)) for field in FIELDS))
        self._time = parse_time
        self._spans = Spans(parse_time, parse_later or parse_time)
        self._holding = Holding(at)
        self._limit = lru_cache(MANY)(parse_limit_s)
        self._exit = lru_cache(MANY)(parse_exit)
        self._state = lru_cache(MANY)(parse_state)
        self._word = lru_cache(MANY)(_word)
        kinds: dict[Callable[[str], Any], tuple[str, ...]] = {
            self._id: ("job", "raw_id"),
            self._time: ("submit", "eligible", "start", "end"),
            parse_duration_s: ("elapsed_raw", "elapsed", "suspended"),
            parse_cpu_time_s: ("cpu_time_raw", "cpu_time"),
            self._limit: ("limit", "limit_minutes"),
            self._holding.count: _COUNTS,
            self._exit: ("exit",),
            self._holding.tres: ("allocated", "requested"),
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
        self._has_cpu_time_alone = not at.keys() & {"n_cpus", "allocated"} and at.keys() & {"cpu_time_raw", "cpu_time"}

    def beginning(self, free: Sequence[int]) -> Callable[[Sequence[str]], bool | None]:
        """Return a test for whether a line can begin a record, by its cells before the first column of free text.

        The test returns None if these cells do not decide it. `free` are the columns of free text.
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

    @property
    def unexplained(self) -> int:
        return self._spans.unexplained

    def fits(self, column: int, cell: str) -> bool:
        """Whether a cell is possible in a column, in a dump by sacct itself."""
        try:
            for parse in self._parsers.get(column, ()):
                parse(cell)
        except ValueError:
            return False
        return self._shapes.fits(column, cell)

    def sound(self, cells: Sequence[str]) -> bool:
        """Whether cells that fit individually can form a record."""
        return self._shapes.sound(cells)

    def figures(self, cells: Sequence[str]) -> object:
        """Return everything that is read from a record except free text."""
        return tuple(row._replace(name=None, comment=None, reason=None) for row in self.rows([cells]))

    def __call__(self, cells: Sequence[str]) -> JobRow | None:
        """Build one row, None for a step, which is part of its job's row. Raises BadCell."""
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
        """Build the rows of all records that are not steps, column by column, which is twice as fast as by record.

        Raises ValueError if a cell does not fit its column; `__call__` tells which.
        """
        if not records:
            return []
        of: Cells[Sequence[str]] = Cells._make(self._in_order([*zip(*records, strict=True), ("",) * len(records)]))
        if self._has_float_ids is None:
            self._has_float_ids = all(text.endswith(".0") for text in either(of.job, of.raw_id))
        if self._has_float_ids:
            of = of._replace(job=_without_point(of.job), raw_id=_without_point(of.raw_id))
        shown = each(self._id, either(of.job, of.raw_id))
        if not all(shown) or "." in "".join(of.raw_id):
            are_jobs = [one is not None and "." not in raw for one, raw in zip(shown, of.raw_id, strict=True)]
            return self.rows(list(compress(records, are_jobs)))
        ids = [one or ShownId(None) for one in shown]
        states, cancelled_by = zip(*map(self._state, of.state), strict=True)
        held = list(
            map(
                self._holding.of, of.n_nodes, of.n_cpus, of.n_gpus, of.n_gpus_requested, of.allocated,
                of.allocated_gres, of.requested, of.requested_gres,
            )
        )  # fmt: skip
        nodes = each(nodes_held, of.nodes)
        exit_codes, signals = zip(*map(self._exit, of.exit), strict=True)
        columns = (
            *_ids(of, ids, self._holding.count),
            each(_name, of.name),
            *(each(self._word, words) for words in (of.user, of.account, of.partition, of.qos, of.cluster)),
            states, cancelled_by,
            *self._spans.columns(of, states, nodes, held),
            each(self._limit, either(of.limit_minutes, of.limit)),
            exit_codes, signals,
            nodes,
            *zip(*held, strict=True),
            [text or None for text in of.allocated],
            [text or None for text in of.requested],
            each(self._word, of.comment),
            each(self._word, of.reason),
            each(parse_energy_j, either(of.energy_raw, of.energy)),
            each(self._holding.count, of.restarts),
        )  # fmt: skip
        rows = list(map(JobRow._make, zip(*columns, strict=True)))
        return _with_cpus(rows, either(of.cpu_time_raw, of.cpu_time)) if self._has_cpu_time_alone else rows


def _with_cpus(rows: Sequence[JobRow], cpu_times: Sequence[str]) -> list[JobRow]:
    """Derive the CPUs of jobs in a dump that has only their total CPU time."""
    return [
        row._replace(n_cpus=round(cpu_s / row.elapsed_s)) if row.elapsed_s and cpu_s is not None else row
        for row, cpu_s in zip(rows, map(parse_cpu_time_s, cpu_times), strict=True)
    ]


def _without_point(column: Sequence[str]) -> list[str]:
    return [text.removesuffix(".0") for text in column]


def _ids(
    of: Cells[Sequence[str]], shown: Sequence[ShownId], count: Callable[[str], int | None]
) -> tuple[Sequence[object], ...]:
    """Return the columns of ids, displayed ids, array ids, array tasks and numbers of jobs."""
    own = [
        int(raw) if raw.isdecimal() and len(raw) <= ID_DIGITS else one.id
        for raw, one in zip(of.raw_id, shown, strict=True)
    ]
    arrays, tasks = each(count, of.array_job), each(count, of.array_task)
    return (
        own,
        either(of.job, of.raw_id),
        [one.array_id or array for one, array in zip(shown, arrays, strict=True)],
        [task if text else one.task for one, task, text in zip(shown, tasks, of.array_task, strict=True)],
        [one.tasks for one in shown],
    )


def _name(text: str) -> str | None:
    return text.strip() or None


def _word(text: str) -> str | None:
    return None if text.lower() in ("", "none", "(null)") else text.strip()


def _any_id(text: str) -> ShownId | None:
    try:
        return parse_shown_id(text)
    except ValueError:
        return ShownId(None)
