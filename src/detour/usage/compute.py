"""Compute usage tables from dumps, or from the live sacct."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detour.errors import SchedulerUnavailable, UserError
from detour.imports import uncollected
from detour.sacct.reading import Dialect, Dump, read_rows
from detour.scheduler.commands import Slurm
from detour.usage.tally import Question, Tally, Usage


@dataclass(frozen=True, slots=True)
class Counted:
    usage: Usage
    dumps: Sequence[Dump]
    """The dumps, fully read, with their notes."""


def count_files(paths: Iterable[Path], dialect: Dialect, question: Question) -> Counted:
    return _count([read_rows(path, dialect) for path in paths], question)


def count_live(slurm: Slurm, question: Question, users: Sequence[str] = (), *, everyone: bool = False) -> Counted:
    """Count by a single sacct call over the question's period, by default only one's own jobs.

    Raises UserError without a start of the period, SchedulerUnavailable if sacct fails.
    """
    if question.since_s is None:
        raise UserError("sacct needs the start of a period: add --since, such as --since 2026-01-01")
    until_s = time.time() if question.until_s is None else question.until_s
    result = slurm.usage(question.since_s, until_s, users, everyone=everyone)
    if result.returncode != 0 or not result.stdout:
        raise SchedulerUnavailable(f"{slurm.named('sacct')} gave no usable answer: {result.message}")
    return _count([read_rows(io.StringIO(result.stdout, "\n"), name=slurm.named("sacct"))], question)


def _count(dumps: Sequence[Dump], question: Question) -> Counted:
    """Count without the garbage collector, which would spend a tenth of the time scanning millions of rows."""
    tally = Tally(question)
    with uncollected():
        for dump in dumps:
            tally.add(dump)
    return Counted(tally.usage(), dumps)
