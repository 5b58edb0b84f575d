"""Tables of what was used, for a terminal of 80 columns, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from detour.text import aligned, cells, fitted, plain, wrapped
from detour.text import counted as number_of
from detour.usage.compute import Counted
from detour.usage.counting import Counting
from detour.usage.tally import Line, Question, Table
from detour.usage.totals import Totals

LINES_SHOWN = 12
DIGITS = 6
"""Digits of hours in JSON and CSV: a precision of a hundredth of a second."""
HEADINGS = ("jobs", "CPU-h", "GPU-h", "wait-h", "queue-h", "never ran")
LEAST_NAME = 14
_COUNTS = ("jobs", "running", "never_ran", "pending")
_HOURS = ("cpu_hours", "gpu_hours", "node_hours", "wait_hours", "queue_wait_hours")
_GAPS = ("no_cpus", "no_gpus", "no_nodes", "no_wait", "no_queue_wait")
FIGURES = (*_COUNTS, *_HOURS, *_GAPS)
_RULES = {
    Counting.SPLIT: "hours in the period of their use, by the second; jobs where they ended, waits where they started",
    Counting.SUBMIT: "all of a job in the period of its submission",
    Counting.START: "all of a job in the period of its start",
    Counting.END: "all of a job in the period of its end",
    Counting.XDMOD: "as Open XDMoD: jobs that ended, their hours split by seconds of which both ends count",
}


def render_usage(found: Counted, width: int, *, everything: bool = False) -> Iterator[str]:
    usage = found.usage
    yield from wrapped(_title(found), "", width)
    for table in (Table((), (Line((), usage.whole),)), *usage.tables):
        yield ""
        yield from _table_lines(table, width, len(table.lines) if everything else LINES_SHOWN)
    yield ""
    yield from wrapped(
        "jobs: attempts that held nodes, each run of a requeued job separately. wait-h: from submission to start; "
        "queue-h: from being eligible to start. never ran: ended without nodes, and in no other figure.",
        "",
        width,
    )


def _title(found: Counted) -> str:
    question = found.usage.question
    rows = sum(dump.notes.rows for dump in found.dumps)
    steps = sum(dump.notes.steps for dump in found.dumps)
    left_out = f" ({number_of(steps, 'step')} left out)" if steps else ""
    period = " ".join(
        f"{word} {_date(at_s, question)}"
        for word, at_s in (("from", question.since_s), ("until", question.until_s))
        if at_s is not None
    )
    rule = _RULES[question.counting]
    return f"{number_of(rows, 'row')}{left_out}{', ' if period else ''}{period}; times in {question.zone}; {rule}."


def _date(at_s: float, question: Question) -> str:
    return f"{datetime.fromtimestamp(at_s, question.zone):%Y-%m-%d %H:%M}"


def _table_lines(table: Table, width: int, most: int) -> Iterator[str]:
    shown = table.lines[:most]
    names = aligned([_headings(table), *(tuple(map(plain, line.key)) or ("all",) for line in shown)])
    figures = aligned([HEADINGS, *(_cells(line.totals) for line in shown)], right=range(len(HEADINGS)))
    room = min(max(LEAST_NAME, width - 2 - len(figures[0])), max(map(cells, names)))
    yield from (f"{fitted(name, room)}  {row}" for name, row in zip(names, figures, strict=True))
    if len(table.lines) > most:
        yield f"... {len(table.lines) - most:,} more: --all, --csv or --json"


def _headings(table: Table) -> tuple[str, ...]:
    return tuple("GPUs per job" if name == "gpus" else name for name in table.by) or ("total",)


def _cells(totals: Totals) -> tuple[str, ...]:
    hours = (totals.cpu_hours, totals.gpu_hours, totals.wait_hours, totals.queue_wait_hours)
    return (f"{totals.jobs:,}", *map(_hours, hours), f"{totals.never_ran:,}")


def _hours(hours: float | None) -> str:
    return "unknown" if hours is None else f"{hours:,.2f}"


def usage_notes(found: Counted) -> Iterator[str]:
    """What makes the figures differ from a plain sum over the rows."""
    usage = found.usage
    for dump in found.dumps:
        notes = dump.notes
        if notes.layout and notes.layout != "given":
            yield f"{dump.name}: without a header, read as {notes.layout} columns"
        if notes.gpus_are_requested:
            yield f"{dump.name}: has no column of allocated GPUs: those that were requested are counted"
        if notes.unexplained:
            yield (
                f"{dump.name}: {number_of(notes.unexplained, 'job')} with a time on nodes that is not from start to "
                "end: suspended, or not in seconds"
            )
        for state, rows in notes.unknown_states.most_common():
            yield f"{dump.name}: {number_of(rows, 'row')} in state {plain(state)}, which is not one of Slurm's"
        yield from notes.broken
        if notes.n_broken > len(notes.broken):
            yield f"{dump.name}: {notes.n_broken - len(notes.broken):,} more rows that cannot be read"
    whole = usage.whole
    if usage.slices:
        yield f"{plain(', '.join(usage.slices))}: slices of a GPU (MIG), each counted as one, as Slurm does"
    if usage.repeated:
        yield f"{number_of(usage.repeated, 'row')} of attempts that were counted already"
    if usage.superseded:
        yield f"{number_of(usage.superseded, 'row')} of unfinished attempts, replaced by later rows"
    if whole.running:
        yield f"{number_of(whole.running, 'job')} without an end: counted for the time on nodes that the dump states"
    if whole.pending:
        yield f"{number_of(whole.pending, 'job')} still pending: in no figure"
    if whole.no_gpus:
        yield f"{number_of(whole.no_gpus, 'job')} without a number of GPUs or a duration: not in GPU-h"
    elif whole.unknown_gpu_us:
        yield "jobs that have not ended in the period are without a number of GPUs: not in GPU-h"
    if whole.no_cpus:
        yield f"{number_of(whole.no_cpus, 'job')} without a number of CPUs or a duration: not in CPU-h"


def usage_json(found: Counted) -> dict[str, Any]:
    usage, question = found.usage, found.usage.question
    return {
        "time_zone": str(question.zone),
        "counting": question.counting.value,
        "since_s": question.since_s,
        "until_s": question.until_s,
        "only": dict(question.only),
        "sources": [
            {
                "name": dump.name,
                "rows": dump.notes.rows,
                "steps": dump.notes.steps,
                "repaired": dump.notes.repaired,
                "broken": dump.notes.n_broken,
                "unknown_states": dict(dump.notes.unknown_states),
                "layout": dump.notes.layout,
                "unexplained_times": dump.notes.unexplained,
                "gpus_are_requested": dump.notes.gpus_are_requested,
            }
            for dump in found.dumps
        ],
        "slices": list(usage.slices),
        "repeated_rows": usage.repeated,
        "superseded_rows": usage.superseded,
        "total": _figures(usage.whole),
        "tables": [
            {
                "by": list(table.by),
                "rows": [dict(zip(table.by, line.key, strict=True)) | _figures(line.totals) for line in table.lines],
            }
            for table in usage.tables
        ],
    }


def usage_csv(found: Counted) -> Iterator[str]:
    """All tables under one header: `table`, every dimension (empty if a table does not have it), the figures."""
    tables = found.usage.tables
    names = list(dict.fromkeys(name for table in tables for name in table.by))
    yield _csv_line(["table", *names, *FIGURES])
    for table in tables:
        for line in table.lines:
            known = dict(zip(table.by, map(plain, line.key), strict=True))
            figures = _figures(line.totals)
            yield _csv_line(
                ["+".join(table.by), *(known.get(name, "") for name in names), *(figures[name] for name in FIGURES)]
            )


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow("" if cell is None else cell for cell in cells)
    return text.getvalue()


def _figures(totals: Totals) -> dict[str, float | None]:
    found = {name: getattr(totals, name) for name in FIGURES}
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in found.items()}
