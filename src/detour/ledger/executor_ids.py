"""Ids of what runs a stage, next to its events: a job of Slurm, or a process that `detour run` started.

Both are numbers. Processes are marked, so that none is taken for the job of that number, which may be another user's.
"""

from __future__ import annotations

_PROCESS = "process-"


def process_executor(process: str) -> str:
    return f"{_PROCESS}{process}"


def process_in(executor: str | None) -> str | None:
    """The process of the local executor, which forwards signals to its tasks; None for a job of Slurm."""
    return executor.removeprefix(_PROCESS) if executor is not None and executor.startswith(_PROCESS) else None


def job_in(executor: str | None) -> str | None:
    """The job, as people and sacct write it, `7` or `7_3`; None without Slurm."""
    return None if executor is None or executor.startswith(_PROCESS) else executor
