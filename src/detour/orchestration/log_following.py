"""Follows a growing log: waits for it, continues into later attempts, and stops when its stage has ended."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.orchestration.logs import LogPart, NoLogYet, has_next, log_part
from detour.orchestration.selection import stages_named
from detour.planning.selection import known_chains

FOLLOW_S = 0.5
LOOK_S = 5.0
"""Seconds between checks for a log, for another attempt, and for the end of the stage."""
BLOCK_BYTES = 1 << 20

Sleep = Callable[[float], None]


class Endings:
    """Which stages have ended, so that their logs no longer grow: as `status` sees it, asking Slurm no more often."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._monitor = monitor(workspace, with_segments=False)
        self._had_stopped = False
        """At the previous look. What was stopped then and still is cannot be between two attempts."""

    def have_ended(self, stages: Collection[str]) -> bool:
        """Whether some have ended and none of the others is running or pending; stages only planned are ignored."""
        if all(self._workspace.is_done(stage) or self._workspace.has_failed(stage) for stage in stages):
            return True
        needed_by = known_chains(self._workspace).needed_by()
        chains = dict.fromkeys(chain for stage in stages for chain in needed_by.get(stage, ())[:1])
        rows = [row for chain in self._monitor.look([*chains]).chains for row in chain.stages if row.id in stages]
        statuses = {row.status for row in rows} - {"planned"}
        stopped = bool(statuses) and statuses.isdisjoint(("running", "submitted", "unknown"))
        had_stopped, self._had_stopped = self._had_stopped, stopped
        return stopped and had_stopped


def awaited(
    workspace: Workspace,
    names: Sequence[str],
    attempt: int | None,
    rank: int,
    *,
    err: bool,
    on_wait: Callable[[str], None],
    sleep: Sleep = time.sleep,
) -> LogPart:
    """Like `log_part`, but wait until there is a log; `on_wait` receives each new reason why there is none.

    Raises UserError as `log_part` does, and if everything that the names mean has ended without a log.
    """
    endings, said = Endings(workspace), ""
    while True:
        try:
            return log_part(workspace, names, attempt, rank, err=err)
        except NoLogYet as error:
            if endings.have_ended(error.stages):
                raise UserError(f"{', '.join(names)}: ended without a log; `detour why` says more") from error
            if str(error) != said:
                said = str(error)
                on_wait(said)
        sleep(LOOK_S)


def next_of(
    workspace: Workspace, names: Sequence[str], part: LogPart, on_wait: Callable[[], None], sleep: Sleep = time.sleep
) -> LogPart | None:
    """The log of another stage that the names mean, once it is more recent than `part`; None once all have ended.

    `on_wait` is called once if there is a wait.
    """
    stages, endings, is_waiting = stages_named(workspace, names), Endings(workspace), False
    while len(stages) > 1:
        with suppress(NoLogYet):
            newest = log_part(workspace, names, rank=part.rank)
            if newest.stage != part.stage:
                return newest
        if endings.have_ended(stages):
            break
        if not is_waiting:
            is_waiting = True
            on_wait()
        sleep(LOOK_S)
    return None


def followed(
    workspace: Workspace, part: LogPart, on_next: Callable[[LogPart], None], sleep: Sleep = time.sleep
) -> Iterator[str]:
    """Yield lines as they are written, from this attempt and the ones after it, until the stage has ended.

    `on_next` is called when another attempt begins.
    """
    endings = Endings(workspace)
    while True:
        position, ended = yield from _grown(workspace, part, endings, sleep)
        newest = log_part(workspace, [part.stage], rank=part.rank)
        if (newest.executor, newest.attempt) != (part.executor, part.attempt):
            is_same_file = newest.path == part.path  # more of it may have been shown already
            part = newest._replace(start=max(newest.start, position)) if is_same_file else newest
            on_next(part)
        elif ended:
            return


def _grown(
    workspace: Workspace, part: LogPart, endings: Endings, sleep: Sleep
) -> Generator[str, None, tuple[int, bool]]:
    """Yield lines until the stage has ended or another attempt has begun.

    Returns how far it read and whether the stage has ended.
    """
    looked_s, rest, ended, is_over = float("-inf"), b"", False, False
    with _Tail(part.path, part.start) as file:
        while True:
            if block := file.read(BLOCK_BYTES if part.end is None else max(part.end - file.tell(), 0)):
                *lines, rest = (rest + block).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
                continue
            if is_over:
                if rest:
                    yield rest.decode(errors="replace")
                return file.tell(), ended
            if time.monotonic() - looked_s >= LOOK_S or part.end is not None:
                looked_s, ended = time.monotonic(), endings.have_ended([part.stage])
                is_over = ended or has_next(workspace, part)  # the last lines come after the marker
            sleep(FOLLOW_S)


class _Tail:
    """Reads a file by its name, like `tail -F`: a replaced or truncated file is read from the start."""

    def __init__(self, path: Path, start: int) -> None:
        self._path, self._file = path, path.open("rb")
        self._file.seek(start)
        self._has_open_line = False

    def __enter__(self) -> _Tail:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def tell(self) -> int:
        return self._file.tell()

    def read(self, most: int) -> bytes:
        block = self._file.read(most)
        if not block and most and self._is_replaced():
            former, self._file = self._file, self._path.open("rb")
            former.close()
            block = (b"\n" if self._has_open_line else b"") + self._file.read(most)
        if block:
            self._has_open_line = not block.endswith(b"\n")
        return block

    def _is_replaced(self) -> bool:
        try:
            there = self._path.stat()
        except OSError:
            return False
        here = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or there.st_size < self._file.tell()
