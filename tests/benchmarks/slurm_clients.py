"""`squeue` and `sacct` of a real Slurm with jobs in its queue, to be measured next to our own commands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterError, ClusterSettings
from tests.slurm.cluster.sharing import close_run, open_run, own_cluster

CLIENTS = {
    "squeue": ["squeue", "--me", "--array", "--format=%i %T %r %S %Q %j"],
    "sacct": ["sacct", "--allocations", "--array", "--format=JobID,State,ExitCode,Submit,Start,End,JobName"],
}
"""The amount of a user's jobs that a person asks for."""


def _rows(cluster: SlurmCluster, client: str) -> int:
    return len(cluster.run(*CLIENTS[client]).stdout.splitlines())


@contextmanager
def queue_of(jobs: int) -> Iterator[Mapping[str, str]]:
    """The environment in which the clients reach a Slurm of the tests with this many jobs, one of them running.

    Empty, after a message with the reason, if there is none.
    """
    open_run()
    with ExitStack() as stack:
        stack.callback(close_run)
        environment: dict[str, str] = {}
        try:
            cluster = stack.enter_context(own_cluster(ClusterSettings(VERSIONS[-1], gpu_nodes=1)))
        except ClusterError as error:
            print(f"squeue, sacct: not measured ({error})")
        else:
            where = ("-A", "abc@cpu", "-p", "cpu_p1", "-o", "/dev/null")
            cluster.run("sbatch", "--exclusive", f"--array=0-{jobs - 1}", *where, "--wrap", "sleep 600")
            wait_until(lambda: _rows(cluster, "sacct") >= jobs, "the accounts to have the jobs", 60, 0.5)
            environment = {**os.environ, **cluster.environment}
        yield environment
