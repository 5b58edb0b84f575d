"""Several seeds of a task at once: each process of the job runs its share of them in turn.

One fine-tuning leaves much of a large GPU idle, since its batches are small, and a small one gains little from a second
core. Processes, not threads: with threads, one seed launching its kernels blocks all others, and each stage needs its
own attempt, claim and signals.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from detour.errors import DetourError, Interrupted, PermanentFailure
from detour.jobs.environment import gpus_held, sees_gpu
from detour.jobs.signals import forwarding

VARIABLE = "DETOUR_SEEDS_AT_ONCE"
"""Environment variable with the number of processes of a job with several seeds, if the default does not suit."""
MOST = 3
"""Upper bound on processes: more share a GPU without doing more. A job's seeds always fit memory (`seeds_per_job`)."""
CORES_EACH = 4
"""Cores for each process, to launch kernels, prepare batches and compute metrics."""
THREADS = "OMP_NUM_THREADS"
"""Threads of each process on a CPU."""


def processes_for(
    seeds: int, cores: int, environment: Mapping[str, str] = os.environ, fitting: Callable[[], int] = lambda: 1
) -> int:
    """How many processes share the seeds of this job.

    fitting  without a usable GPU, returns the number of seeds that fit in memory

    Raises DetourError for an invalid number.
    """
    asked = environment.get(VARIABLE)
    if asked is not None:
        if not asked.isdecimal() or not int(asked):
            raise DetourError(f"{VARIABLE} is {asked!r}: give a number of processes from 1 on, or unset it")
        return min(seeds, int(asked))
    gpus = gpus_held(environment)
    if gpus > 1 or (not gpus and sees_gpu(environment)):
        return 1
    if gpus == 1:
        return max(1, min(seeds, MOST, cores // CORES_EACH))
    threads = environment.get(THREADS, "")
    most = cores // int(threads) if threads.isdecimal() and int(threads) else cores
    return max(1, min(seeds, most, fitting()))


def shares(stages: Sequence[str], processes: int) -> list[list[str]]:
    """The stages in shares of nearly equal size."""
    return [list(stages[first::processes]) for first in range(processes)]


def run_at_once(command: Sequence[str], stages: Sequence[Sequence[str]]) -> int:
    """Run the command once per share, all at the same time; returns one exit code when all have ended.

    A signal to stop is forwarded to each, once all have begun. If one fails, the others continue, so their work is not
    lost.
    """
    children: list[subprocess.Popen[bytes]] = []

    def send(number: int) -> None:
        for child in children:
            child.send_signal(number)

    with forwarding(send) as begin:
        children += [subprocess.Popen([*command, *share]) for share in stages]
        begin()
        return joint_exit_code([child.wait() for child in children])


def joint_exit_code(codes: Sequence[int]) -> int:
    """The exit code that tells Slurm what to do next: it fails permanently only if another attempt would help none."""
    bad = [128 - code if code < 0 else code for code in codes if code]
    if Interrupted.exit_code in bad:
        return Interrupted.exit_code
    return next((code for code in bad if code != PermanentFailure.exit_code), bad[0] if bad else 0)


def this_command(workspace: os.PathLike[str], wall_limit_s: float | None) -> list[str]:
    limit = [] if wall_limit_s is None else ["--wall-limit-s", str(wall_limit_s)]
    return [sys.executable, "-uP", "-m", "detour.jobs", "--workspace", os.fspath(workspace), "--part", *limit]
