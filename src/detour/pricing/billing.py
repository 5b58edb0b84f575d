"""What a site charges for an attempt, by its profile's billing rule; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detour.accounting.hours import HOUR_S, AttemptUsage
from detour.sacct.slices import board_share

if TYPE_CHECKING:
    from detour.config.cluster import Cluster


def boards(cluster: Cluster, gpus: int) -> float | None:
    """Convert GPUs of the profile's type to boards; None for slices (MIG) of unknown size."""
    share = board_share(cluster.gpu.type) if cluster.gpu and gpus else 1.0
    if share == 1.0:
        return gpus
    return None if share is None else gpus * share


def billed_gpus(cluster: Cluster, gpus: float | None, cpus: int | None, nodes: int) -> float | None:
    """Return the GPUs charged for an allocation; None if the rule needs an unknown value, 0 if nothing is charged.

    gpu          the reserved GPUs
    cores-share  raised to the share of a node's cores: one GPU with half the cores of a 4-GPU node counts 2
    whole-node   all GPUs of every node, however few were requested
    With `multi_node_bills_whole_nodes`, several nodes count as whole nodes. If Slurm allocates dies
    (GCD), `gcd_per_gpu` of them are billed as one GPU.
    """
    billing, gpu = cluster.billing, cluster.gpu
    if billing.rule == "none":
        return 0.0
    if gpu is None:
        return None
    whole_nodes = float(nodes * gpu.per_node)
    if billing.rule == "whole-node" or (billing.multi_node_bills_whole_nodes and nodes > 1):
        counted: float | None = whole_nodes
    elif gpus is None:
        counted = None
    elif billing.rule == "gpu" or gpus == 0:
        counted = float(gpus)
    elif cpus is None or cluster.cores_per_node is None:
        counted = None
    else:
        counted = max(float(gpus), min(cpus / cluster.cores_per_node * gpu.per_node, whole_nodes))
    return None if counted is None else counted / gpu.gcd_per_gpu


def held_and_billed(cluster: Cluster, gpus: int, cores: int) -> tuple[float | None, float | None]:
    """Return the boards that a request holds and `billed_gpus` of it, on as many nodes as its GPUs fill."""
    nodes = max(1, -(-gpus // cluster.gpu.per_node)) if cluster.gpu else 1
    held = boards(cluster, gpus)
    return held, billed_gpus(cluster, held, cores, nodes)


def billed_gpu_hours(cluster: Cluster, usage: AttemptUsage) -> float | None:
    """Return `billed_gpus` x elapsed time; None if the attempt's GPUs are unknown."""
    if usage.gpus is None:
        return None
    counted = billed_gpus(cluster, usage.gpus, usage.cpus, usage.nodes)
    return None if counted is None else counted * usage.allocated_s / HOUR_S
