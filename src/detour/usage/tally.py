"""Sum attempts into tables, in one pass over rows in any order; memory grows by about 16 bytes per attempt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from itertools import compress, islice
from operator import attrgetter, itemgetter

from detour.sacct.rows import JobRow
from detour.sacct.slices import board_share
from detour.usage.attempt_set import Seen
from detour.usage.calendar import FINEST_FIRST, Calendar, Unit, coarser
from detour.usage.counting import UNDATED, Counting, Rule, last_seen_s
from detour.usage.totals import Totals, unpack

UNKNOWN = "unknown"
DIMENSIONS: Mapping[str, str] = {
    "user": "user",
    "account": "account",
    "partition": "partition",
    "qos": "qos",
    "cluster": "cluster",
    "state": "state",
    "gpus": "n_gpus",
    "gpu-type": "gpu_type",
    "name": "name",
}
"""Dimensions of tables, in addition to calendar units -> field of `JobRow`."""
PERIODS = frozenset(unit.value for unit in Unit)
USUAL = (("month",), ("user",), ("account",), ("partition",), ("qos",), ("gpus",), ("state",))


def _fields(*names: str) -> Callable[[JobRow], Hashable]:
    """Return a getter of fields by position, which is twice as fast as by name."""
    places = list(map(JobRow._fields.index, names))
    return itemgetter(*places) if places else _nothing


def _nothing(row: JobRow) -> None:
    """The getter of a table by periods only."""
    del row


_ATTEMPT = _fields("cluster", "shown_id", "job_id", "submit_s")
_VARIANT = _fields("start_s", "end_s")
_GPU_TYPE = attrgetter("gpu_type")
_AT_ONCE = 1024
"""Number of rows to process together."""


def size_of(gpus: int | None) -> str:
    """Return the job size class in GPUs; classes double: 0, 1, 2, 3-4, 5-8, ..."""
    if gpus is None or gpus <= 2:
        return UNKNOWN if gpus is None else str(gpus)
    high = 1 << (gpus - 1).bit_length()
    return f"{high // 2 + 1}-{high}"


@dataclass(frozen=True, slots=True)
class Question:
    by: Sequence[tuple[str, ...]] = USUAL
    """Dimensions of each table; several give a line for each combination."""
    zone: tzinfo = UTC
    """Time zone in which days, months and years begin."""
    counting: Counting = Counting.SPLIT
    since_s: float | None = None
    until_s: float | None = None
    """Only usage between the two counts; they cut attempts to the second, if the counting rule splits attempts."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Dimension -> the value that rows must have."""


@dataclass(frozen=True, slots=True)
class Line:
    key: tuple[str, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class Table:
    by: tuple[str, ...]
    lines: tuple[Line, ...]
    """Periods and sizes are in ascending order; the rest is by GPU-hours, then CPU-hours, descending."""


@dataclass(frozen=True, slots=True)
class Usage:
    question: Question
    whole: Totals
    tables: tuple[Table, ...]
    repeated: int
    """Rows that repeat an attempt, for example because two dumps overlap; each is counted once."""
    superseded: int
    """Rows of unfinished attempts for which another row is more recent."""
    slices: tuple[str, ...] = ()
    """GPU types that are slices (MIG), which are counted as Slurm counts them."""


class Tally:
    """Add rows of one or several dumps, then call `usage` once."""

    def __init__(self, question: Question) -> None:
        self._question = question
        asked = {name for names in question.by for name in names}
        unit = next((unit for unit in FINEST_FIRST if unit.value in asked), None)
        calendar = None if unit is None else Calendar(unit, question.zone)
        self._rule = Rule(question.counting, calendar, question.since_s, question.until_s)
        self._only = [(attrgetter(DIMENSIONS[name]), name, value) for name, value in question.only.items()]
        self._sums = [_Sums(names) for names in question.by]
        self._dated = [sums for sums in self._sums if sums.is_dated]
        self._undated = [(sums.values, sums.figures[""]) for sums in self._sums if not sums.is_dated]
        self._whole = 0
        self._attempts = Seen()
        self._open: dict[Hashable, JobRow] = {}
        self._repeated = self._superseded = 0
        self._gpu_types: set[str | None] = set()

    def add(self, rows: Iterable[JobRow]) -> None:
        left = iter(rows)
        while some := list(islice(left, _AT_ONCE)):
            ended = [row for row in some if row.end_s is not None]
            if len(ended) < len(some):
                for row in (row for row in some if row.end_s is None):
                    self._hold(row)
            new = self._attempts.add_all(map(_ATTEMPT, ended), map(_VARIANT, ended))
            self._repeated += new.count(False)
            self._count(list(compress(ended, new)))

    def usage(self) -> Usage:
        went_on = [attempt in self._attempts for attempt in self._open]
        self._superseded += sum(went_on)
        self._count([row for row, ended in zip(self._open.values(), went_on, strict=True) if not ended])
        tables = tuple(sums.table() for sums in self._sums)
        types = {one for listed in self._gpu_types if listed for one in listed.split(",")}
        slices = tuple(sorted(one for one in types if board_share(one) != 1.0))
        return Usage(self._question, unpack(self._whole), tables, self._repeated, self._superseded, slices)

    def _hold(self, row: JobRow) -> None:
        """Hold an unfinished attempt until all rows are read, keeping its most recent row."""
        attempt = _ATTEMPT(row)
        held = self._open.get(attempt)
        self._superseded += held is not None
        if held is None or _sight(row) > _sight(held):
            self._open[attempt] = row

    def _count(self, rows: Sequence[JobRow]) -> None:
        for value, name, wanted in self._only:
            rows = [row for row in rows if _shown(name, value(row)) == wanted]
        self._gpu_types.update(map(_GPU_TYPE, rows))
        shares = list(map(self._rule.shares, rows))
        wholes = [sum(share.values()) for share in shares]
        self._whole += sum(wholes)
        for values, figures in self._undated:
            for key, whole in zip(map(values, rows), wholes, strict=True):
                figures[key] += whole
        for sums in self._dated:
            sums.add(rows, shares)


class _Sums:
    """A table being built: figures (see `totals`) by period label and the row's values."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._units = [name for name in names if name in PERIODS]
        self._fields = [name for name in names if name not in PERIODS]
        self.values = _fields(*(DIMENSIONS[name] for name in self._fields))
        self.figures: defaultdict[str, defaultdict[Hashable, int]] = defaultdict(lambda: defaultdict(int))
        """Figures by period label (empty without periods), then by values."""

    @property
    def is_dated(self) -> bool:
        return bool(self._units)

    def add(self, rows: Sequence[JobRow], shares: Sequence[Mapping[str, int]]) -> None:
        """Add to a table by periods; for other tables, the total is added to their figures directly."""
        for values, parts in zip(map(self.values, rows), shares, strict=True):
            for label, share in parts.items():
                self.figures[label][values] += share

    def table(self) -> Table:
        merged: dict[tuple[str, ...], int] = {}
        for label, by_values in self.figures.items():
            for values, figures in by_values.items():
                key = self._key(label, values)
                merged[key] = merged.get(key, 0) + figures
        lines = [Line(key, unpack(figures)) for key, figures in merged.items() if figures]
        return Table(self._names, tuple(sorted(lines, key=self._order)))

    def _key(self, label: str, values: object) -> tuple[str, ...]:
        several = values if isinstance(values, tuple) else (values,)
        shown = {name: _shown(name, value) for name, value in zip(self._fields, several, strict=False)}
        shown |= {name: label if label == UNDATED else coarser(label, Unit(name)) for name in self._units}
        return tuple(shown[name] for name in self._names)

    def _order(self, line: Line) -> tuple[object, ...]:
        known = list(zip(self._names, line.key, strict=True))
        periods = tuple(value for name, value in known if name in PERIODS)
        sizes = tuple(_size(value) for name, value in known if name == "gpus")
        return (periods, sizes, -line.totals.gpu_us, -line.totals.cpu_us, -line.totals.jobs, line.key)


def _sight(row: JobRow) -> tuple[float, bool]:
    """Return a sort key by which the more recent of two rows of an unfinished attempt is larger."""
    return last_seen_s(row) or 0, row.ran


def _shown(name: str, value: object) -> str:
    if name == "gpus":
        return size_of(value if isinstance(value, int) else None)
    return UNKNOWN if value is None else str(value)


def _size(label: str) -> float:
    return float("inf") if label == UNKNOWN else float(label.partition("-")[0])
