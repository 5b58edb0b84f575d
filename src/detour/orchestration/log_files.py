"""The log files of a job or process, one for each rank, and the end of what they say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from detour.grouping import grouped
from detour.ledger.executor_ids import process_in
from detour.ledger.workspace import Workspace
from detour.scheduler.tags import may_share

LOG = "_log.out"
LOG_BYTES = 128 * 1024
LOG_LINES = 400
RANK_LINES = 60
"""Lines of each rank other than 0: these mostly repeat rank 0."""


def log_lines(
    workspace: Workspace,
    stage: str,
    executor: str | None,
    *,
    ranks_only: bool = False,
    problems: list[str] | None = None,
) -> list[str]:
    """The end of the logs of a job or process, with lines of ranks other than 0 marked; `ranks_only` leaves out rank 0.

    What cannot be read is left out, and reported in `problems`.
    """
    lines: list[str] = []
    for rank, path in log_files(workspace, stage, executor):
        if rank == 0 and ranks_only:
            continue
        try:
            read = _tail(path)
        except OSError as error:
            if problems is not None:
                problems.append(f"{path}: {error.strerror}")
            continue
        lines += read[-LOG_LINES:] if rank == 0 else [f"{rank}: {line}" for line in read[-RANK_LINES:]]
    return lines


def log_files(
    workspace: Workspace, stage: str, executor: str | None, unread: list[str] | None = None
) -> Iterator[tuple[int, Path]]:
    """Rank and path of each log of a job or process, rank 0 last.

    Folders that cannot be read are reported in `unread`, with the reason: `Path.glob` would treat them as empty.
    """
    if executor is None:
        return
    process, problems = process_in(executor), list[str]()
    name = process or executor
    submitted = JobLogs(workspace, problems).of(stage, executor) if process is None else ()
    found = [*submitted, *_entries(workspace.stage(stage) / "logs", problems)]
    if unread is not None:
        unread += problems
    ranked = {(int(path.name.split("_")[-2]), path) for path in found if _is_log(path, name)}
    yield from sorted(ranked, key=lambda one: (one[0] == 0, one[0]))


def _is_log(path: Path, job: str) -> bool:
    name = path.name
    return name.startswith(f"{job}_") and name.endswith(LOG) and name.split("_")[-2].isdecimal()


class JobLogs:
    """Logs of jobs in Slurm. Of thousands of folders, only those are listed that may have the stage, each once."""

    def __init__(self, workspace: Workspace, problems: list[str]) -> None:
        """What cannot be read is reported in `problems`."""
        self._folder, self._problems = workspace.root / "submissions", problems
        self._shared: dict[str, Mapping[str, Sequence[Path]]] = {}
        """Kind of stages -> job -> its logs in folders of several such stages."""

    def of(self, stage: str, job: str) -> Sequence[Path]:
        """The logs of the job with this id that has the stage: in the stage's own folder, or else in a shared one."""
        own = [path for path in _entries(self._folder / stage, self._problems) if _is_log(path, job)]
        return own or _logs_of_stage(self._in_shared(stage.partition("-")[0]).get(job, ()), stage)

    def _in_shared(self, kind: str) -> Mapping[str, Sequence[Path]]:
        if kind not in self._shared:
            shared = [unit for unit in _entries(self._folder, self._problems) if may_share(unit.name, kind)]
            logs = [path for unit in shared for path in _entries(unit, self._problems) if path.name.endswith(LOG)]
            self._shared[kind] = grouped((path.name.rsplit("_", 2)[0], path) for path in logs)
        return self._shared[kind]


def _logs_of_stage(logs: Sequence[Path], stage: str) -> Sequence[Path]:
    """Of the logs with one job's id in shared folders, those of the job that has the stage.

    They are several jobs' if they are in several folders: another cluster may use the id, or Slurm again. A folder has
    the stage if one of its scripts does; if none has, the logs may be of any.
    """
    folders = {path.parent for path in logs}
    if len(folders) < 2:
        return logs
    own = {folder for folder in folders if _has_stage(folder, stage)}
    return [path for path in logs if path.parent in (own or folders)]


def _has_stage(unit: Path, stage: str) -> bool:
    word = re.compile(rf"(?<![\w-]){re.escape(stage)}(?![\w-])")
    with suppress(OSError):
        return any(word.search(script.read_text(errors="replace")) for script in unit.glob("*.sh"))
    return False


def _entries(folder: Path, problems: list[str]) -> list[Path]:
    """The entries of a folder; none if it is not a folder. A problem names the folder that is closed, perhaps above."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        closed = next((above for above in reversed(folder.parents) if not os.access(above, os.X_OK)), folder)
        problems.append(f"{closed}: cannot be read ({error.strerror}); ask its owner")
        return []


def _tail(path: Path) -> list[str]:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - LOG_BYTES))
        return file.read().decode(errors="replace").splitlines()
