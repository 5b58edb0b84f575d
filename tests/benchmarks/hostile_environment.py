"""Every input variable of Slurm's manual pages, one by one, with a hostile value: submit, again, status, cancel.

    python -m tests.benchmarks.hostile_environment [VERSION...]

Printed is how many variables were tried on each real Slurm, and each with which anything differed.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.control import Control
from detour.scheduler.snapshot import add_accounting, take_snapshot
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Programs, Version
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster
from tests.slurm.jobs import CPU, small_chain
from tests.slurm.test_submission import fresh, live_ids
from tests.support.slurm_variables import WHERE_SLURM_IS, hostile, input_variables


def outcome(cluster: SlurmCluster, variables: dict[str, str]) -> tuple[object, ...]:
    """The outcome of a chain's four orders, without ids, and what the same clients without the variables see of it."""
    slurm = Slurm(SubprocessRunner({**cluster.environment, **variables}))
    workspace, ledger = fresh(cluster), MemoryLedger()
    requests = small_chain(replace(CPU, options=("--begin=now+1hour",)))
    sent = workspace.submitter(slurm, ledger).submit(requests)
    again = workspace.submitter(slurm, ledger).submit(requests)
    users = [workspace.user]
    seen = add_accounting(take_snapshot(slurm, users), slurm, users, list(sent.jobs.values()), time.time() - 3600)
    shown = sorted((str(record.tag and record.tag.slot), record.state, record.is_held) for record in seen.queue or ())
    queued = {slot: len(ids) for slot, ids in live_ids(cluster, workspace).items()}
    stages = [stage for request in requests for stage in request.stages]
    reached = Control(slurm, ledger, workspace.name, [workspace.user]).cancel(stages, "test")
    left = live_ids(cluster, workspace)
    return (
        *(set(sent.jobs), sent.remarks, again.jobs == sent.jobs, again.remarks, shown, seen.missing, queued),
        *(set(reached.ids) == set(sent.jobs.values()), dict(reached.left), left, dict(slurm.calls)),
    )


def main() -> int:
    versions = [version for version in VERSIONS if version in (sys.argv[1:] or VERSIONS)]
    for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_"))]:
        del os.environ[name]
    bent: list[str] = []
    open_run()
    try:
        for version in versions:
            bent += try_all(version)
    finally:
        close_run()
    return 1 if bent else 0


def try_all(version: Version) -> list[str]:
    names = sorted(set(input_variables(Programs.find(version).root)) - WHERE_SLURM_IS)
    with own_cluster(ClusterSettings(version, gpu_nodes=1)) as cluster:
        usual = outcome(cluster, {})
        bent = [name for name in names if outcome(cluster, {name: hostile(name)}) != usual]
    print(f"Slurm {version}: {len(names)} variables, {len(bent)} change something {' '.join(bent)}", flush=True)
    return bent


if __name__ == "__main__":
    sys.exit(main())
