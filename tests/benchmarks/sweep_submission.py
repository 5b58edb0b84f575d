"""A hundred chains with 72 evaluations each into a real Slurm: `python -m tests.benchmarks.sweep_submission`.

Starts its own Slurm, submits the sweep through the command that people type, prints seconds and calls, and cancels it
before much has started. For comparison ten chains, and larger sweeps that are only laid out: calls must not grow with
jobs beyond the shapes of the work.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from detour.config.loading import load_cluster
from detour.ledger.workspace import Workspace
from detour.orchestration.order import PlanGroup, make_order
from detour.orchestration.plans import load_plans
from detour.orchestration.requests import JobOptions
from tests.benchmarks.sweep_planning import CONFIGS
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster

DETOUR = Path(sys.executable).parent / "detour"
SEEDS = f"benchmark.seeds=[{','.join(map(str, range(72)))}]"


def write_sweep(folder: Path, seeds: int) -> Path:
    """Two arms, five decay lengths, this many training seeds."""
    path = folder / f"sweep-{seeds}.yaml"
    path.write_text(
        f"name: sweep-{seeds}\nrecipe: {CONFIGS / 'recipes' / 'quickstart.yaml'}\n"
        "axes:\n"
        "  arm: {cases: {clm: {}, mlm: {phases.clm: {name: mlm-30, objective: masked, masking_rate: 0.3}}}}\n"
        "  decay: {key: phases.mlm.tokens, values: [30k, 40k, 50k, 60k, 70k]}\n"
        f"seeds: [{', '.join(map(str, range(seeds)))}]\n"
    )
    return path


def submit(cluster: SlurmCluster, folder: Path, seeds: int) -> None:
    workspace = folder / f"workspace-{seeds}"
    command = [DETOUR, "submit", write_sweep(folder, seeds), SEEDS, "--cluster", "slurm-local", "-w", workspace]
    start_s = time.perf_counter()
    done = subprocess.run(
        [*map(str, command), "--json"],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    took_s = time.perf_counter() - start_s
    calls = json.loads(done.stdout)["calls"]
    jobs = len(cluster.run("squeue", "-h", "-r").stdout.splitlines())
    cluster.run("scancel", "-u", "root")
    shown = ", ".join(f"{count} {name}" for name, count in calls.items())
    print(f"{10 * seeds:>7,} chains  {jobs:>7,} jobs  {took_s:>6.1f} s  {shown}", flush=True)


def lay_out(folder: Path, seeds: int) -> None:
    planned, place = load_plans(write_sweep(folder, seeds), (SEEDS,)), Workspace(folder / "nothing-yet")
    group = PlanGroup(planned.name, planned.plans, planned.sweep)
    order = make_order(place, group, load_cluster("slurm-local"), JobOptions())
    jobs, calls = (sum(one) for one in zip(*((r.jobs, r.segments) for r in order.requests), strict=True))
    print(f"{10 * seeds:>7,} chains  {jobs:>7,} jobs  not sent  {calls} sbatch", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[-1])
    options = parser.parse_args()
    open_run()
    try:
        with own_cluster(ClusterSettings(options.version)) as cluster, tempfile.TemporaryDirectory() as folder:
            for seeds in (1, 10):
                submit(cluster, Path(folder), seeds)
            for seeds in (20, 40, 80):
                lay_out(Path(folder), seeds)
    finally:
        close_run()


if __name__ == "__main__":
    main()
