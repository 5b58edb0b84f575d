"""A shell in a running job, on the terminal of the person who asks."""

from __future__ import annotations

import os
import subprocess

from detour.errors import SchedulerUnavailable, UserError
from detour.scheduler.client_environment import client_environment
from detour.scheduler.commands import Slurm


def open_shell(slurm: Slurm, job: str) -> int:
    """Open the user's shell beside the job's processes, with all of its GPUs; returns its exit code at its end.

    Raises UserError if the job does not run, SchedulerUnavailable without squeue or srun.
    """
    found = slurm.running(job)
    if found is None:
        raise UserError(f"job {job} is not running, so there is no node to open a shell on")
    where = () if slurm.cluster is None else (f"--clusters={slurm.cluster}",)
    command = ("srun", *where, f"--jobid={found}", "--overlap", "--pty", os.environ.get("SHELL") or "bash", "-l")
    try:
        return subprocess.run(command, env=client_environment(os.environ, "srun"), check=False).returncode
    except OSError as error:
        raise SchedulerUnavailable(f"srun cannot be started: {error.strerror}") from error
