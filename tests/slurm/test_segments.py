"""A chain of segments without a process of ours: only dependencies, on the real Slurm, however a segment ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from detour.scheduler.dependency import Upstream, after_segments, after_units
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version
from tests.slurm.jobs import client, sbatch, wait_for_states

Starter = Callable[[ClusterSettings], SlurmCluster]
ENDLESS = "sleep 600"


@dataclass(frozen=True)
class Chain:
    segments: tuple[str, ...]
    follower: str


def submit_chain(cluster: SlurmCluster, *commands: str) -> Chain:
    """One segment per command, each with a limit of a minute, and a follower; all held, then released at once."""
    segments: list[str] = []
    for command in commands:
        waits = after_segments(None, segments)
        segments.append(sbatch(cluster, command, "--hold", "--time=1", dependency=waits))
    follower = sbatch(cluster, "true", "--hold", dependency=after_units([Upstream(segments)]))
    client(cluster).release([follower, *reversed(segments)])
    return Chain(tuple(segments), follower)


CHAINS = {
    "first succeeds": (("true", "true", "true"), ("COMPLETED", "CANCELLED", "CANCELLED"), "COMPLETED"),
    "first is cut short": (("exit 85", "true", "true"), ("FAILED", "COMPLETED", "CANCELLED"), "COMPLETED"),
    "two are cut short": (("exit 85", "exit 85", "true"), ("FAILED", "FAILED", "COMPLETED"), "COMPLETED"),
    "first times out": ((ENDLESS, "true", "true"), ("TIMEOUT", "COMPLETED", "CANCELLED"), "COMPLETED"),
    "all fail": (("exit 1", "exit 85", "exit 1"), ("FAILED", "FAILED", "FAILED"), "CANCELLED"),
}


@pytest.fixture(scope="module")
def chains(slurm: SlurmCluster) -> dict[str, Chain]:
    """All at once, because Slurm checks time limits every 30 s."""
    return {name: submit_chain(slurm, *commands) for name, (commands, _, _) in CHAINS.items()}


@pytest.mark.parametrize("name", CHAINS)
def test_the_right_segments_run_and_their_dependent_follows(
    slurm: SlurmCluster, chains: dict[str, Chain], name: str
) -> None:
    _, segments, follower = CHAINS[name]
    chain = chains[name]
    expected = dict(zip(chain.segments, segments, strict=True)) | {chain.follower: follower}
    wait_for_states(slurm, expected, timeout_s=400)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broken_node_keeps_dependents_waiting_for_the_requeued_attempt(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, cpu_nodes=2))
    first = '[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] || sleep 600'
    chain = submit_chain(cluster, first, "true")
    wait_until(lambda: running(cluster) == [chain.segments[0]], "the first segment to run")
    node = cluster.run("squeue", "-h", "-o", "%N").stdout.strip()
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    wait_for_states(
        cluster, {chain.segments[0]: "COMPLETED", chain.segments[1]: "CANCELLED", chain.follower: "COMPLETED"}
    )


def running(cluster: SlurmCluster) -> list[str]:
    return cluster.run("squeue", "-h", "-t", "R", "-o", "%i").stdout.split()
