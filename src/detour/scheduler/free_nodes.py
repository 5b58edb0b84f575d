"""What is free on a cluster now: GPUs, cores and whole nodes of each partition, by one sinfo."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from detour.grouping import grouped
from detour.sacct.values import parse_gres
from detour.scheduler.commands import Slurm

_USABLE = re.compile(r"(?:idle|mix)[~#@-]?", re.IGNORECASE)
"""Not states with `*` (the node does not answer) or `$` (maintenance)."""


@dataclass(frozen=True, slots=True)
class FreeNodes:
    """One partition."""

    partition: str
    nodes: int
    nodes_free: int
    """Nodes on which nothing runs."""
    gpus: int
    gpus_free: int
    most_gpus_free: int
    """On a single node."""
    cores: int
    cores_free: int


@dataclass(frozen=True, slots=True)
class _Node:
    partition: str
    is_usable: bool
    gpus: int
    gpus_used: int
    cores_used: int
    cores: int

    @property
    def is_free(self) -> bool:
        return self.is_usable and not self.cores_used and not self.gpus_used

    @property
    def gpus_free(self) -> int:
        return max(self.gpus - self.gpus_used, 0) if self.is_usable else 0

    @property
    def cores_free(self) -> int:
        return max(self.cores - self.cores_used, 0) if self.is_usable else 0


def read_free_nodes(slurm: Slurm) -> list[FreeNodes]:
    """Partitions with GPUs first, most free ones first. Raises SchedulerUnavailable."""
    by_partition = grouped((node.partition, node) for node in _nodes(slurm.node_use().splitlines()))
    found = [_free(partition, nodes) for partition, nodes in by_partition.items()]
    return sorted(found, key=lambda one: (not one.gpus, -one.gpus_free, -one.cores_free, one.partition))


def _nodes(lines: Iterable[str]) -> Iterable[_Node]:
    for line in lines:
        partition, state, gres, used, cores = (*line.split("|"), "", "", "", "", "")[:5]
        counts = cores.split("/")
        if len(counts) != 4 or not all(map(str.isdecimal, counts)):
            continue
        allocated, _idle, _other, total = map(int, counts)
        is_usable = _USABLE.fullmatch(state) is not None
        gpus, gpus_used = (parse_gres(text).gpus or 0 for text in (gres, used))
        yield _Node(partition.rstrip("*"), is_usable, gpus, gpus_used, allocated, total)


def _free(partition: str, nodes: list[_Node]) -> FreeNodes:
    return FreeNodes(
        partition,
        len(nodes),
        sum(node.is_free for node in nodes),
        sum(node.gpus for node in nodes),
        sum(node.gpus_free for node in nodes),
        max(node.gpus_free for node in nodes),
        sum(node.cores for node in nodes),
        sum(node.cores_free for node in nodes),
    )
