"""The log files of a job or process, one for each rank, and the end of what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from detour.ledger.executor_ids import process_in
from detour.ledger.workspace import Workspace

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
    units = _entries(workspace.root / "submissions", problems) if process is None else []
    submitted = [path for unit in units for path in _entries(unit, problems) if _is_log(path, name)]
    found = [*logs_of_stage(submitted, stage), *_entries(workspace.stage(stage) / "logs", problems)]
    if unread is not None:
        unread += problems
    ranked = {(int(path.name.split("_")[-2]), path) for path in found if _is_log(path, name)}
    yield from sorted(ranked, key=lambda one: (one[0] == 0, one[0]))


def _is_log(path: Path, job: str) -> bool:
    name = path.name
    return name.startswith(f"{job}_") and name.endswith("_log.out") and name.split("_")[-2].isdecimal()


def logs_of_stage(logs: Sequence[Path], stage: str) -> Sequence[Path]:
    """Of the logs with one job's id, those of the job that has the stage.

    They are several jobs' if they are in several units' folders: another cluster may use the id, or Slurm again. A
    folder has the stage if its name or one of its scripts does; if none has, the logs may be of any.
    """
    folders = {path.parent for path in logs}
    if len(folders) < 2:
        return logs
    own = {folder for folder in folders if _has_stage(folder, stage)}
    return [path for path in logs if path.parent in (own or folders)]


def _has_stage(unit: Path, stage: str) -> bool:
    if unit.name == stage:
        return True
    word = re.compile(rf"(?<![\w-]){re.escape(stage)}(?![\w-])")
    with suppress(OSError):
        return any(word.search(script.read_text(errors="replace")) for script in unit.glob("*.sh"))
    return False


def _entries(folder: Path, problems: list[str]) -> list[Path]:
    """The entries of a folder; none if it is not a folder."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        problems.append(f"{folder}: cannot be read ({error.strerror}); ask its owner")
        return []


def _tail(path: Path) -> list[str]:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - LOG_BYTES))
        return file.read().decode(errors="replace").splitlines()
