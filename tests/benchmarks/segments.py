"""A phase cut into segments and disturbed in every way, on a real Slurm, compared with one undisturbed run.

    python -m tests.benchmarks.segments [SCENARIO...]

Every scenario has its own cluster and workspace and trains the same small recipe, one per core at a time. Printed for
each: attempts at the first phase, its jobs that ran and those that Slurm cancelled unused, and whether both phases'
weights are equal to the undisturbed run's to the bit. Exit code 1 if any is not.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import ClusterSettings
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster
from tests.support.chains import detour, small

TRAINING = ("phases.clm.tokens=5M", "training.checkpoint_every=100", "benchmark=null")
"""The first phase takes two and a half minutes of an idle core."""
PATIENCE_S = 1500.0


@dataclass(frozen=True)
class Scenario:
    """`disturb` is called once the first phase has a checkpoint."""

    disturb: Callable[[SlurmCluster, str, Path], None]
    options: tuple[str, ...] = ()
    gpu_nodes: int = 1


def leave_alone(_cluster: SlurmCluster, _job: str, _workspace: Path) -> None:
    return


def requeue(cluster: SlurmCluster, job: str, _workspace: Path) -> None:
    cluster.run("scontrol", "requeue", job)


def kill_processes(_cluster: SlurmCluster, _job: str, workspace: Path) -> None:
    (attempts,) = [path for path in workspace.glob("stages/pretrain-*/attempts") if any(path.iterdir())]
    os.kill(json.loads(max(attempts.iterdir()).read_text())["pid"], signal.SIGKILL)


def kill_node(cluster: SlurmCluster, job: str, _workspace: Path) -> None:
    node = cluster.run("squeue", "-h", "-j", job, "-o", "%N").stdout.strip()
    cluster.kill_node(node, power=True)
    wait_until(lambda: cluster.run("sinfo", "-h", "-n", node, "-o", "%t").stdout.startswith("down"), "the loss", 90, 1)
    cluster.start_node(node)


def preempt(cluster: SlurmCluster, _job: str, _workspace: Path) -> None:
    asked = ("-A", "abc@h100", "-p", "gpu_p6", "--qos", "qos_gpu_h100-dev", "--gres=gpu:4", "--time=5")
    cluster.run("sbatch", *asked, "-o", "/dev/null", "--wrap", "sleep 5")


SCENARIOS = {
    "undisturbed": Scenario(leave_alone),
    "three segments by --time": Scenario(leave_alone, ("--time", "2m", "--segments", "9")),
    "scontrol requeue": Scenario(requeue),
    "SIGKILL of the job's process": Scenario(kill_processes),
    "node killed": Scenario(kill_node, gpu_nodes=2),
    "preempted by a higher QOS": Scenario(preempt, ("--qos", "qos_gpu_h100-be")),
}


@dataclass(frozen=True)
class Result:
    weights: dict[str, str]
    attempts: int
    ran: int
    unused: int


def play(scenario: Scenario, folder: Path) -> Result:
    workspace = folder / "workspace"
    with own_cluster(ClusterSettings("24.11", gpu_nodes=scenario.gpu_nodes)) as cluster:
        environment = {**os.environ, **cluster.environment, "OMP_NUM_THREADS": "1"}
        command = ["submit", *small(more=TRAINING), "-w", str(workspace), "--cluster", "slurm-local", "--gpus", "1"]
        sent = json.loads(detour(*command, *scenario.options, "--json", environment=environment).stdout)
        checkpoints = "stages/pretrain-*/work/checkpoints/*"
        wait_until(lambda: any(workspace.glob(checkpoints)), "a checkpoint", PATIENCE_S, 0.5)
        first = next(job for slot, job in sent["jobs"].items() if slot.startswith("pretrain"))
        scenario.disturb(cluster, first, workspace)
        wait_until(lambda: len(weights(workspace)) == 2, "the chain", PATIENCE_S, 1)
        time.sleep(8)  # slurmdbd learns of it late
        segments = [job for slot, job in sent["jobs"].items() if slot.startswith(phase_of(first, sent["jobs"]))]
        listed = cluster.run("sacct", "-nXP", "-j", ",".join(segments), "-o", "JobID,Start").stdout.splitlines()
        ran = sum(line.split("|")[1] not in ("Unknown", "None", "") for line in listed)
    (chain,) = Monitor(Workspace(workspace)).look().chains
    attempts = next(row.attempts for row in chain.stages if row.kind == "pretrain")
    return Result(weights(workspace), attempts, ran, len(segments) - ran)


def phase_of(job: str, jobs: dict[str, str]) -> str:
    return next(slot.split()[0] for slot, job_id in jobs.items() if job_id == job)


def weights(workspace: Path) -> dict[str, str]:
    """Label of each finished promotion -> digest of its weights."""
    found = {}
    for path in workspace.glob("stages/promote-*/output/manifest.json"):
        manifest = json.loads(path.read_text())
        found[manifest["provenance"]["stage"]["label"]] = manifest["files"]["model/model.safetensors"]["sha256"]
    return found


def main() -> int:
    names = ["undisturbed", *(name for name in sys.argv[1:] or SCENARIOS if name != "undisturbed")]
    open_run()
    try:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            Path(folder).chmod(0o755)
            folders = [Path(folder, str(index)) for index in range(len(names))]
            results = dict(zip(names, pool.map(play, [SCENARIOS[name] for name in names], folders), strict=True))
    finally:
        close_run()
    expected = results["undisturbed"].weights
    for name, result in results.items():
        verdict = "equal to the bit" if result.weights == expected else "WEIGHTS DIFFER"
        print(f"{name:<30} {result.attempts} attempts, {result.ran} jobs ran, {result.unused} unused: {verdict}")
    return 0 if all(result.weights == expected for result in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
