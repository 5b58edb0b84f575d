"""Failures and waits provoked on a real Slurm get their cause from its own accounts, queue and logs."""

from __future__ import annotations

import sys
from pathlib import Path

from detour.diagnosis.evidence import Evidence
from detour.diagnosis.judge import judge
from detour.diagnosis.verdict import Verdict
from detour.orchestration.evidence import job_rows, queue_rows
from detour.scheduler.dependency import After
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.jobs import client, sbatch, states

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY")
PYTHON = f"{sys.executable} -c"
FAILURES = {
    "environment": f"srun {PYTHON} 'import no_such_module'",
    "missing_input": f"{PYTHON} 'open(\"/no/such/file\")'",
    "code_error": f"{PYTHON} 'raise ValueError(3)'",
    "crash": f"srun {PYTHON} 'import ctypes; ctypes.string_at(0)'",
    "disk_full": f'{PYTHON} \'open("/dev/full", "w").write("x" * 100000)\'',
    "host_oom": f"ulimit -v 400000; {PYTHON} 'bytearray(10**10)'",
    "unknown": "kill -9 $$",
    "normal": "true",
    "cancelled": "sleep 300",
}


def verdict(cluster: SlurmCluster, job: str, log: Path) -> Verdict:
    unreadable: dict[str, str] = {}
    slurm = client(cluster)
    queue, _ = queue_rows(slurm, ["root"], unreadable)
    row = next((row for row in queue if row.id == job), None)
    sacct = job_rows(slurm, [job], 0.0, unreadable)
    lines = tuple(log.read_text().splitlines()) if log.exists() else ()
    assert not unreadable
    return judge(Evidence(sacct, row, lines, (), unreadable, job))


def test_provoked_failures_and_waits_get_their_causes(slurm: SlurmCluster, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    logs = {cause: tmp_path / f"{cause}.log" for cause in FAILURES}
    jobs = {cause: sbatch(slurm, line, "-o", str(logs[cause])) for cause, line in FAILURES.items()}
    # newer versions create a missing folder
    jobs["output_path"] = sbatch(slurm, "true", "-o", "/dev/null/out")
    jobs["held"] = sbatch(slurm, "true", "--hold")
    jobs["dependency_dead"] = sbatch(slurm, "true", f"--dependency=afterok:{jobs['cancelled']}")
    orphan = sbatch(slurm, "true", dependency=After("afterok", jobs["cancelled"]))
    jobs["waiting"] = sbatch(slurm, "true", "--begin=now+1hour")
    ending = [jobs[cause] for cause in (*FAILURES, "output_path") if cause != "cancelled"]
    wait_until(lambda: slurm.run("squeue", "-h", "-j", jobs["cancelled"], "-t", "R").stdout != "", "it to run", 120)
    slurm.run("scancel", jobs["cancelled"])
    everything = [*ending, jobs["cancelled"]]

    def have_ended() -> bool:
        """Also not requeued: 22.05 may try again to launch a job whose output it cannot open."""
        found = states(slurm, everything)
        pending = slurm.run("squeue", "-h", "-t", "PD", "-o", "%i").stdout.split()
        return {*found.values()} <= {*ENDED} and len(found) == len(everything) and not {*everything} & {*pending}

    wait_until(have_ended, "all jobs to end", 240)
    wait_until(
        lambda: "NeverSatisfied" in slurm.run("squeue", "-h", "-j", jobs["dependency_dead"], "-o", "%r").stdout,
        "the dead dependency to be seen",
        60,
    )
    found = {cause: verdict(slurm, job, logs.get(cause, tmp_path / "none")).cause for cause, job in jobs.items()}
    assert verdict(slurm, orphan, tmp_path / "none").cause == "dependency_dead"
    slurm.run("scancel", jobs["held"], jobs["dependency_dead"], jobs["waiting"])
    assert found == {cause: cause for cause in jobs}
