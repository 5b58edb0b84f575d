"""The allocation of a job: GPUs, CPUs and nodes, from the columns that a dump has."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import lru_cache
from typing import NamedTuple

from detour.sacct.values import parse_count, parse_gres, parse_tres

NO_TYPE = "none"
MANY = 1 << 16
"""Number of distinct values of each kind to cache, since most values repeat."""


class Held(NamedTuple):
    """The allocation of a job."""

    n_nodes: int | None
    n_cpus: int | None
    n_gpus: int | None
    gpu_type: str | None
    billing: float | None


class Holding:
    """Determines the allocations of one dump's jobs; `at` maps our field to the index of its cell."""

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
        """Return the allocation; `asked` is the requested GRES.

        A site that does not track GPUs lists allocations without any. So if some were requested, or a resource is
        listed that only the site knows, the number of GPUs is unknown, not 0.
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
        kind = NO_TYPE if gpus == 0 else gpu_type
        return Held(nodes, self.count(n_cpus) if n_cpus else held.cpus, gpus, kind, held.billing)

    def _requested(self, count: str, requested: str, asked: str, nodes: int | None) -> tuple[int | None, str | None]:
        """Return GPUs and their type from the request, whose TRES are per job and GRES per node."""
        if count:
            return self.count(count), None
        wanted, a_node = self.tres(requested), parse_gres(asked)
        if wanted.gpus is None and a_node.gpus is not None:
            return (None if nodes is None else a_node.gpus * nodes), a_node.gpu_type
        is_none = wanted.gpus is None and (requested or asked) and not (wanted.has_nameless or a_node.has_nameless)
        return (0 if is_none else wanted.gpus), wanted.gpu_type


def lists_requests_alone(fields: Container[str]) -> bool:
    """Whether a dump with these fields has the number of requested GPUs but not that of allocated ones."""
    return not any(field in fields for field in ("allocated", "allocated_gres", "n_gpus")) and any(
        field in fields for field in ("n_gpus_requested", "requested", "requested_gres")
    )
