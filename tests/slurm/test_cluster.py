"""The test cluster itself: both versions answer, an ordinary user can run one, and nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import started_ticks, wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version, current_user
from tests.slurm.cluster.sharing import FOLDER, REPOSITORY

Starter = Callable[[ClusterSettings], SlurmCluster]


def finished(cluster: SlurmCluster, job: str, state: str = "COMPLETED") -> bool:
    return cluster.run("sacct", "-nXP", "-j", job, "-o", "State").stdout.strip() == state


def test_a_job_runs_on_a_named_node_of_the_right_version(slurm: SlurmCluster) -> None:
    assert slurm.run("sinfo", "--version").stdout.split()[1].startswith(slurm.settings.version)
    output = slurm.home / "tmp" / "hello.txt"
    job = slurm.run(
        "sbatch", "--parsable", "-o", output, "--gres=gpu:4", "--wrap", "hostname; echo $CUDA_VISIBLE_DEVICES"
    )
    wait_until(lambda: finished(slurm, job.stdout.strip()), "the job to be accounted for")
    host, devices = output.read_text().split()
    assert devices == "0,1,2,3"
    assert host.startswith("gpu") or os.geteuid() != 0


@pytest.mark.parametrize("version", VERSIONS)
def test_an_ordinary_user_can_run_a_cluster(own_slurm: Starter, version: Version) -> None:
    user = "nobody" if current_user() == "root" else current_user()
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, user=user))
    job = cluster.run("sbatch", "--parsable", "-o", "who", "--wrap", "id -un", user=user).stdout.strip()
    wait_until(lambda: finished(cluster, job), "the job to be accounted for")
    assert (cluster.home / "tmp/who").read_text() == f"{user}\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cluster_ends_with_its_owner_and_leaves_nothing(version: Version) -> None:
    home = Path(os.environ[FOLDER]) / f"alone-{version}"
    owner = subprocess.Popen(["sleep", "600"])
    command = [sys.executable, "-m", "tests.slurm.cluster", str(home), "--version", version, "--owner", str(owner.pid)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as supervisor:
        wait_until(lambda: (home / "ready").exists(), "the cluster")
        cluster = SlurmCluster.load(home)
        pid_files = [path for path in (home / "run").glob("*.pid") if "self" not in path.name]
        job_pid_file = home / "tmp/job.pid"
        cluster.run(
            "sbatch", "--wrap", f"echo $$ > {job_pid_file}.new; mv {job_pid_file}.new {job_pid_file}; sleep 600"
        )
        wait_until(job_pid_file.exists, "the job to run")
        pids = [int(path.read_text().split()[0]) for path in (*pid_files, job_pid_file)]
        assert len(pids) == 4 + 5 + 1
        assert all(started_ticks(pid) for pid in pids)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        assert supervisor.wait(30) == 0
    assert not home.exists()
    assert not [pid for pid in pids if started_ticks(pid)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_loses_power_and_returns(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1))
    cluster.kill_node("gpu1")
    assert cluster.processes.pid("slurmd.gpu1") is None
    cluster.start_node("gpu1")
    cluster.wait_for_nodes()
