"""The log of an attempt: which file, and which part of it, since one file holds all attempts of a job.

Each attempt begins with a line that names the stage (`ledger.attempt.BEGINS`), in each rank's file, so the attempt
before a requeue can be found under the same job. What a job prints before its stage begins belongs to the attempt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from detour.errors import UserError
from detour.ledger.attempt import BEGINS
from detour.ledger.executor_ids import job_in, process_in
from detour.ledger.state import AttemptState, StageState, State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.log_files import JobLogs, log_files
from detour.orchestration.selection import stages_named
from detour.text import natural_key

PIECE_BYTES = 1 << 16


class NoLogYet(UserError):
    """There is no log yet; one of `stages` may write one later."""

    def __init__(self, message: str, stages: Iterable[str]) -> None:
        super().__init__(message)
        self.stages = tuple(stages)


class LogPart(NamedTuple):
    """The bytes of a file that one rank of one attempt wrote."""

    stage: str
    label: str
    job: str | None
    process: str | None
    """The process of `detour run`, which has no job."""
    attempt: int | None
    """None for a job that has not begun the stage."""
    rank: int
    path: Path
    start: int
    end: int | None
    """None for the end of the file, which may still grow."""

    @property
    def executor(self) -> str | None:
        return self.job or self.process

    def lines(self) -> Iterator[str]:
        with self.path.open("rb") as file:
            file.seek(self.start)
            left = None if self.end is None else self.end - self.start
            for line in file:
                if left is not None:
                    line, left = line[:left], left - len(line)
                if line:
                    yield line.decode(errors="replace").rstrip("\n")
                if left is not None and left <= 0:
                    return

    def from_last(self, lines: int) -> LogPart:
        """The part from its last lines on, to which what is written from now on is added."""
        left = lines
        for position, piece in _pieces_back(self.path, self.start, self.end):
            at = len(piece.removesuffix(b"\n"))
            count = piece.count(b"\n", 0, at) + 1
            if count < left:
                left -= count
                continue
            for _ in range(left):
                at = piece.rfind(b"\n", 0, at)
            return self._replace(start=position + at + 1)
        return self


def log_part(
    workspace: Workspace, names: Sequence[str], attempt: int | None = None, rank: int = 0, *, err: bool = False
) -> LogPart:
    """The log of the stage that the names mean; of several (a chain's), the one that was active last.

    Activity includes writing to a log, as a job does that ends before it begins its stage. `attempt` is a number, or
    counts back from the last one (-1 is the one before it); None is the last attempt, or a later job that has not begun
    the stage. With `err`, standard error if it has its own file: jobs write both to one. Raises UserError if there is
    no such stage, attempt or rank, or if its folder cannot be read; NoLogYet if there is no log yet.
    """
    part, known, wanted = _whole(workspace, names, attempt, rank, err=err)
    start, end = _part(part.path, part.stage, known, wanted)
    return part._replace(start=start, end=end)


def has_next(workspace: Workspace, part: LogPart) -> bool:
    """Whether a later attempt has a log; without reading logs, which may be large."""
    try:
        newest, _, _ = _whole(workspace, [part.stage], None, part.rank, err=False)
    except UserError:
        return False
    return (newest.executor, newest.attempt) != (part.executor, part.attempt)


def _whole(
    workspace: Workspace, names: Sequence[str], attempt: int | None, rank: int, *, err: bool
) -> tuple[LogPart, StageState, AttemptState | None]:
    """The whole file that `log_part` finds a part of, with its stage and attempt."""
    state = LedgerView(workspace).state
    logs = _Logs(workspace)
    stage, label = _stage(workspace, names, state, logs)
    known = state.stage(stage)
    wanted = _attempt(known, label, attempt)
    executor = wanted.executor if wanted else None
    if attempt is None and (unbegun := _unbegun(known, executor, logs)):
        wanted, executor = None, unbegun
    job, process = (wanted.job, wanted.process) if wanted else (job_in(executor), process_in(executor))
    unread: list[str] = []
    paths = dict(log_files(workspace, stage, executor, unread))
    if not paths and unread:
        raise UserError(f"{label} ({stage}): {unread[0]}")
    if not paths:
        where = f" of job {job}" if job else "" if executor else ", no job has it"
        raise NoLogYet(f"{label} ({stage}): no log yet{where}", [stage])
    if rank not in paths:
        raise UserError(f"{label}: no log of rank {rank}; {_there_are('rank', sorted(paths))}")
    path = paths[rank]
    if err and (apart := path.with_name(path.name.replace("_log.out", "_log.err"))).exists():
        path = apart
    number = wanted.number if wanted else None
    return LogPart(stage, label, job, process, number, rank, path, 0, None), known, wanted


class _Logs:
    """When the logs of a stage's job were last written to."""

    def __init__(self, workspace: Workspace) -> None:
        self._logs = JobLogs(workspace, [])

    def written_s(self, stage: str, job: str) -> float:
        """0 without a log."""
        at_s = 0.0
        for path in self._logs.of(stage, job):
            with suppress(OSError):
                at_s = max(at_s, path.stat().st_mtime)
        return at_s


def _stage(workspace: Workspace, names: Sequence[str], state: State, logs: _Logs) -> tuple[str, str]:
    stages = stages_named(workspace, names)
    seen = {stage: state.stages[stage] for stage in stages if stage in state.stages and state.stages[stage].executors}
    if not seen:
        raise NoLogYet(f"{', '.join(names)}: nothing of it has run or been submitted yet, so there is no log", stages)
    latest = max(seen, key=lambda stage: _last_sign_s(seen[stage], logs))
    return latest, stages[latest].label


def _last_sign_s(stage: StageState, logs: _Logs) -> float:
    signs_s = [attempt.last_seen_s or 0.0 for attempt in stage.attempts]
    return max(*signs_s, *(logs.written_s(stage.id, executor) for executor in stage.executors), 0.0)


def _attempt(known: StageState, label: str, wanted: int | None) -> AttemptState | None:
    attempts = known.attempts
    if wanted is None:
        return attempts[-1] if attempts else None
    if wanted < 0 and len(attempts) + wanted - 1 >= 0:
        return attempts[wanted - 1]
    if found := [attempt for attempt in attempts if attempt.number == wanted]:
        return found[-1]
    there = _there_are("attempt", [attempt.number for attempt in attempts]) if attempts else "it has not begun"
    raise UserError(f"{label}: no attempt {wanted}; {there}")


def _unbegun(known: StageState, last: str | None, logs: _Logs) -> str | None:
    """The job that has not begun the stage, if its log is newer than the last attempt's or there is no attempt.

    Of several, the one with the newest log, or else the first.
    """
    begun = {attempt.executor for attempt in known.attempts}
    written_s = {job: logs.written_s(known.id, job) for job in sorted(known.executors - begun, key=natural_key)}
    newest = max(written_s, key=written_s.__getitem__, default=None)
    is_newer = newest is not None and written_s[newest] > (logs.written_s(known.id, last) if last else 0.0)
    return newest if is_newer or not begun else None


def _part(path: Path, stage: str, known: StageState, wanted: AttemptState | None) -> tuple[int, int | None]:
    """Start and end of the attempt in its job's file: the whole file if attempts cannot be distinguished.

    Logs may be large, so they are read back from their ends, no further than the attempt. What is before the second
    attempt's begin is the first one's.
    """
    of_job = [one for one in known.attempts if wanted and one.executor == wanted.executor]
    if wanted is None or len(of_job) < 2 or wanted not in of_job:
        return 0, None
    index = max(of_job.index(wanted), 1)
    later, end = len(of_job) - 1 - index, None
    for position, number in _begins_back(path, stage):
        if number == of_job[index].number or (number is None and later == 0):
            return (0, position) if wanted is of_job[0] else (position, end)
        later, end = later - 1, position
    return 0, None


def _begins_back(path: Path, stage: str) -> Iterator[tuple[int, int | None]]:
    """Positions in the file at which attempts of the stage begin, the last first, and their numbers.

    Ranks other than 0 do not know the number.
    """
    mark = f"{BEGINS}{stage} ".encode()
    for position, piece in _pieces_back(path):
        at = piece.rfind(mark)
        while at >= 0:
            line = piece.rfind(b"\n", 0, at) + 1
            number = re.search(rb"\): attempt ([0-9]+), ", piece[at:].partition(b"\n")[0])
            yield position + line, number and int(number[1])
            at = piece.rfind(mark, 0, line)


def _pieces_back(path: Path, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Pieces of whole lines with their positions, the last first: who soon has enough reads little of a large file."""
    n_bytes, rest = PIECE_BYTES, b""
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END) if end is None else end
        while position > start:
            before, position = position, max(position - n_bytes, start)
            file.seek(position)
            piece = file.read(before - position) + rest
            cut = 0 if position == start else piece.find(b"\n") + 1 or len(piece)
            rest = piece[:cut]
            if piece[cut:]:
                yield position + cut, piece[cut:]
            else:
                n_bytes *= 2


def _there_are(what: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"there is only {what} {numbers[0]}"
    listed = ", ".join(map(str, numbers)) if len(numbers) <= 8 else f"{numbers[0]} to {numbers[-1]}"
    return f"there are {what}s {listed}"
