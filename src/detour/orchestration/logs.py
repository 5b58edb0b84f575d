"""The log of an attempt: which file, and which part of it, since one file holds all attempts of a job.

Each attempt begins with a line that names the stage (`ledger.attempt.BEGINS`), in each rank's file, so the attempt
before a requeue can be found under the same job. What a job prints before its stage begins belongs to the attempt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from detour.errors import UserError
from detour.grouping import grouped
from detour.ledger.attempt import BEGINS
from detour.ledger.executor_ids import job_in, process_in
from detour.ledger.state import AttemptState, StageState, State
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.log_files import log_files, logs_of_stage
from detour.orchestration.selection import stages_named
from detour.text import natural_key


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
        starts, position = deque([self.start], lines), self.start
        with self.path.open("rb") as file:
            file.seek(self.start)
            for line in file:
                if self.end is not None and position >= self.end:
                    break
                starts.append(position)
                position += len(line)
        return self._replace(start=starts[0])


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
    """The logs of all jobs in Slurm, and when those of a stage's job were last written to."""

    def __init__(self, workspace: Workspace) -> None:
        logs = workspace.root.glob("submissions/*/*_log.out")
        self._by_job = grouped((path.name.rsplit("_", 2)[0], path) for path in logs)

    def written_s(self, stage: str, job: str) -> float:
        """0 without a log."""
        at_s = 0.0
        for path in logs_of_stage(self._by_job.get(job, ()), stage):
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
    """Start and end of the attempt in its job's file: the whole file if attempts cannot be distinguished."""
    begins = list(_begins(path, stage))
    of_job = [one for one in known.attempts if wanted and one.executor == wanted.executor]
    if wanted is None or len(begins) < 2 or wanted not in of_job:
        return 0, None
    index = min(of_job.index(wanted), len(begins) - 1)
    return (0 if index == 0 else begins[index]), (begins[index + 1] if index + 1 < len(begins) else None)


def _begins(path: Path, stage: str) -> Iterator[int]:
    """Positions in the file at which attempts of the stage begin."""
    mark, position = f"{BEGINS}{stage} ".encode(), 0
    with path.open("rb") as file:
        for line in file:
            if mark in line:
                yield position
            position += len(line)


def _there_are(what: str, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"there is only {what} {numbers[0]}"
    listed = ", ".join(map(str, numbers)) if len(numbers) <= 8 else f"{numbers[0]} to {numbers[-1]}"
    return f"there are {what}s {listed}"
