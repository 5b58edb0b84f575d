"""What a job has on its nodes: GPUs, CPUs and nodes, out of whichever columns a dump has."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import lru_cache
from typing import NamedTuple

from detour.sacct.values import parse_count, parse_gres, parse_tres

MANY = 1 << 16
"""Most values repeat: so many different ones of a kind are remembered."""


class Held(NamedTuple):
    """What a job has on its nodes."""

    n_nodes: int | None
    n_cpus: int | None
    n_gpus: int | None
    gpu_type: str | None
    billing: float | None


class Holding:
    """Of the jobs of one dump; `at`: our field -> index of its cell."""

    def __init__(self, at: Mapping[str, int]) -> None:
        self.count = lru_cache(MANY)(parse_count)
        self.tres = lru_cache(MANY)(parse_tres)
        self.of = lru_cache(MANY)(self._of)
        self._lists_gres_alone = "allocated_gres" in at and "allocated" not in at
        self._gpus_are_requested = lists_requests_alone(at)

    def _of(
        self,
        n_nodes: str,
        n_cpus: str,
        n_gpus: str,
        n_gpus_requested: str,
        allocated: str,
        allocated_gres: str,
        requested: str,
        asked: str,
    ) -> Held:
        """`asked` is the requested GRES. A site that does not track GPUs lists an allocation without any: then it is
        not 0 where some were requested, or where a resource is listed that only the site knows, but unknown.
        """
        held = self.tres(allocated)
        nodes = self.count(n_nodes) if n_nodes else held.nodes
        listed = held if held.gpus is not None or not allocated_gres else parse_gres(allocated_gres)
        gpus, gpu_type = listed.gpus, listed.gpu_type
        if self._gpus_are_requested:
            gpus, gpu_type = self._requested(n_gpus_requested, requested, asked, nodes)
        elif n_gpus:
            gpus = self.count(n_gpus)
        elif gpus is None and (allocated or allocated_gres or self._lists_gres_alone):
            wanted = self.tres(requested).gpus or (parse_gres(asked).gpus if asked else None)
            gpus, gpu_type = (None if wanted or held.has_nameless or listed.has_nameless else 0), None
        return Held(nodes, self.count(n_cpus) if n_cpus else held.cpus, gpus, gpu_type, held.billing)

    def _requested(self, count: str, requested: str, asked: str, nodes: int | None) -> tuple[int | None, str | None]:
        """GPUs and their type by the request, in which TRES are those of the job and GRES those of a node."""
        if count:
            return self.count(count), None
        wanted, a_node = self.tres(requested), parse_gres(asked)
        if wanted.gpus is None and a_node.gpus is not None:
            return (None if nodes is None else a_node.gpus * nodes), a_node.gpu_type
        is_none = wanted.gpus is None and (requested or asked) and not (wanted.has_nameless or a_node.has_nameless)
        return (0 if is_none else wanted.gpus), wanted.gpu_type


def lists_requests_alone(fields: Container[str]) -> bool:
    """Whether a dump with these of our fields says how many GPUs were requested, and not how many were allocated."""
    return not any(field in fields for field in ("allocated", "allocated_gres", "n_gpus")) and any(
        field in fields for field in ("n_gpus_requested", "requested", "requested_gres")
    )
