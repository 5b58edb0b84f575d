"""Scheduler calls and seconds: 20 jobs of one shape here and with submitit's `map_array`, and a chain by verb.

    python -m tests.benchmarks.submit_calls [VERSION]

Both submit to the same real Slurm, through the same shims on PATH, which count every client program started.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import submitit

from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.requests import JobRequest
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import ClusterSettings
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster
from tests.slurm.jobs import CPU, FakeWorkspace, small_chain

CLIENTS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")
JOBS = 20


def counting_path(cluster: SlurmCluster, folder: Path) -> tuple[dict[str, str], Path]:
    """An environment whose clients write a line to the returned file, then run as usual."""
    log = folder / "calls"
    for name in CLIENTS:
        real = cluster.run("which", name).stdout.strip()
        (folder / name).write_text(f'#!/bin/sh\necho {name} >>{log}\nexec {real} "$@"\n')
        (folder / name).chmod(0o755)
    environment = {**os.environ, **cluster.environment}
    environment["PATH"] = f"{folder}:{environment['PATH']}"
    return environment, log


def counted(name: str, log: Path, act: Callable[[], None]) -> None:
    log.write_text("")
    started = time.perf_counter()
    act()
    seconds = time.perf_counter() - started
    calls = Counter(log.read_text().split())
    shown = ", ".join(f"{verb} {count}" for verb, count in sorted(calls.items()))
    print(f"{name:<46} {sum(calls.values()):3d} calls  {seconds:5.2f} s   {shown}")


def main() -> None:
    version = sys.argv[1] if len(sys.argv) > 1 else "24.11"
    open_run()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            own_cluster(ClusterSettings(version)) as cluster,  # type: ignore[arg-type]
        ):
            environment, log = counting_path(cluster, Path(folder))

            def ours(requests: list[JobRequest]) -> None:
                workspace = FakeWorkspace(Path(tempfile.mkdtemp(dir=folder)) / "w")
                slurm = Slurm(SubprocessRunner(environment))
                workspace.submitter(slurm, MemoryLedger()).submit(requests)

            def submitits() -> None:
                executor = submitit.SlurmExecutor(folder=Path(folder, "submitit"))
                executor.update_parameters(account="abc@cpu", partition="cpu_p1", time=10, array_parallelism=JOBS)
                with pytest.MonkeyPatch.context() as patch:
                    for name, value in environment.items():
                        patch.setenv(name, value)
                    assert len(executor.map_array(abs, range(JOBS))) == JOBS

            array = JobRequest(tuple((f"evaluate-{number}",) for number in range(JOBS)), CPU, wall_s=600)
            counted(f"{JOBS} jobs here, as one array, exactly once", log, lambda: ours([array]))
            counted(f"{JOBS} jobs with submitit's map_array", log, submitits)
            counted("the quickstart's shape, 8 jobs, exactly once", log, lambda: ours(small_chain()))
    finally:
        close_run()


if __name__ == "__main__":
    main()
