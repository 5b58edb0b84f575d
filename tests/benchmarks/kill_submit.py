"""SIGKILL of `detour submit` at random instants on a real Slurm, then again: duplicates, orphans, lost chains.

    python -m tests.benchmarks.kill_submit [KILLS] [VERSION]

Chains of real jobs (the small quickstart); every fifth trains with its own seed, the others share its weights and add
evaluations, so that submissions also meet stages in flight. Every submission is killed ten times, then completes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from detour.scheduler.tags import find_tag
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import ClusterSettings
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster
from tests.support.chains import DETOUR, ROOT, small

KILLS_A_CHAIN = 10


def submit_command(workspace: Path, chain: int) -> list[str]:
    trunk = chain // 5
    changes = [f"name=chain-{chain}", f"seeds.training={trunk}", f"benchmark.seeds=[{100 + chain}]"]
    where = ["--cluster", "slurm-local", "--gpus", "1", "-w", str(workspace)]
    return [DETOUR, "submit", *small(more=changes), *where]


def run_for(command: list[str], environment: dict[str, str], limit_s: float) -> bool:
    """Whether it was killed; False if it ended by itself."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    if process.returncode != 0:
        raise SystemExit(f"submit failed: {errors.decode()}")
    return False


def jobs_by_slot(cluster: SlurmCluster) -> dict[str, list[str]]:
    """Slot -> states of all jobs that ever filled it, from the accounts, without those that never ran."""
    listed = cluster.run("sacct", "-nXP", "-S", "now-1days", "-o", "JobName%200,JobID,State,Start").stdout
    found: dict[str, list[str]] = {}
    for line in listed.splitlines():
        name, job_id, state, start = line.split("|")
        tag = find_tag(name)
        if tag is not None and start not in ("Unknown", "None", ""):
            task = job_id.partition("_")[2]
            found.setdefault(f"{tag.slot} {task}", []).append(state.split()[0])
    return found


def wait_until_empty(cluster: SlurmCluster, patience_s: float = 3600) -> list[str]:
    """Wait for the queue to drain; returns what is left."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        left = cluster.run("squeue", "-h", "-o", "%i %j %T %r").stdout.splitlines()
        if not left:
            return []
        time.sleep(2)
    return left


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    version = sys.argv[2] if len(sys.argv) > 2 else "24.11"
    rng = random.Random(0)
    counted: Counter[str] = Counter()
    open_run()
    try:
        with tempfile.TemporaryDirectory() as folder, own_cluster(ClusterSettings(version)) as cluster:  # type: ignore[arg-type]
            workspace = Path(folder, "workspace")
            environment = {**os.environ, **cluster.environment}
            started = time.monotonic()
            run_for([*submit_command(workspace, 0), "--dry-run"], environment, 600)
            longest_s = 2.5 * (time.monotonic() - started)
            chain = 0
            while counted["kills"] < kills:
                before = counted["kills"]
                while counted["kills"] - before < KILLS_A_CHAIN:
                    if not run_for(submit_command(workspace, chain), environment, rng.uniform(0.1, longest_s)):
                        counted["submissions that ended before their kill"] += 1
                        break
                    counted["kills"] += 1
                run_for(submit_command(workspace, chain), environment, 600)
                chain += 1
            counted["chains"] = chain
            left = wait_until_empty(cluster)
            counted["orphans: jobs left in the queue"] = len(left)
            slots = jobs_by_slot(cluster)
            counted["jobs that ran"] = sum(map(len, slots.values()))
            counted["duplicates: slots that ran twice"] = sum(len(states) > 1 for states in slots.values())
            status = json.loads(
                subprocess.run(
                    [DETOUR, "status", "-w", str(workspace), "--json"], capture_output=True, check=True
                ).stdout
            )
            done = sum(all(stage["status"] == "done" for stage in row["stages"]) for row in status["chains"])
            counted["chains that did not complete"] = chain - done
    finally:
        close_run()
    for name, count in counted.items():
        print(f"{count:5d}  {name}")
    bad = [name for name in counted if name.startswith(("orphans", "duplicates", "chains that")) and counted[name]]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
