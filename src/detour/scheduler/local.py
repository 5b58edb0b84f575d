"""Jobs on this machine through submitit's local executor: the same command line as under Slurm, without pickle."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detour.errors import UserError
from detour.handlers import handling
from detour.ledger.executor_ids import process_executor
from detour.ledger.folders import make_folder

if TYPE_CHECKING:
    import subprocess

A_YEAR_MIN = 365 * 24 * 60
PATTERNS = ("%j", "%t", "%A", "%a")
"""Replaced by submitit in the path of logs; they cannot be escaped."""


def job_command(workspace: Path, stages: Sequence[str]) -> str:
    """What a job runs, quoted for a shell. `-P` keeps modules in the current folder from being imported."""
    return shlex.join([sys.executable, "-uP", "-m", "detour.jobs", "--workspace", str(workspace), *stages])


@dataclass(frozen=True, slots=True)
class LocalJob:
    """A running job. Its processes are independent and outlive the command that started them.

    submitit's controller does not pass on exit codes, so the stage's markers and journal record how it ended.
    """

    id: str
    """As in the ledger (`executor_ids`)."""
    log: Path
    """Standard output and error of rank 0."""
    process: subprocess.Popen[bytes]

    def is_running(self) -> bool:
        return self.process.poll() is None

    def ask_to_stop(self) -> None:
        """Send SIGTERM, which the controller forwards to its tasks: they save and exit."""
        self.process.send_signal(signal.SIGTERM)


def start(
    workspace: Path,
    stages: Sequence[str],
    log_folder: Path,
    *,
    tasks: int = 1,
    gpus: Sequence[str] = (),
    threads: int = 1,
) -> LocalJob:
    """Start one job of `tasks` processes with `threads` CPU threads each on this machine, and return at once.

    gpus  the GPUs they see, as in CUDA_VISIBLE_DEVICES

    Raises UserError for a folder whose path submitit would treat as a pattern.
    """
    from submitit.local.local import LocalExecutor

    if found := next((pattern for pattern in PATTERNS if pattern in str(log_folder)), None):
        raise UserError(
            f"{workspace}: a path with {found} in it cannot hold local runs' logs; choose another workspace"
        )

    make_folder(workspace, log_folder)
    executor = LocalExecutor(log_folder)
    executor.update_parameters(
        tasks_per_node=tasks, gpus_per_node=len(gpus), timeout_min=A_YEAR_MIN, stderr_to_stdout=True
    )
    executor.parameters["visible_gpus"] = tuple(gpus)  # `update_parameters` accepts only numbers for it
    threading = _environment("OMP_NUM_THREADS", str(threads))
    with _ignoring_ctrl_c(), threading, _environment("PYTHONSAFEPATH", "1"):  # for submitit's controller, as `-P`
        job = executor._submit_command(job_command(workspace, stages))
    return LocalJob(process_executor(str(job.job_id)), Path(job.paths.stdout), job._process)


def _ignoring_ctrl_c() -> AbstractContextManager[None]:
    """Make children ignore Ctrl-C: it then reaches only the waiting command, which asks the jobs to save and stop."""
    return handling((signal.SIGINT,), signal.SIG_IGN)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    previous = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if previous is None:
            del os.environ[name]
        else:
            os.environ[name] = previous
