"""What a job has on its nodes: GPUs, CPUs and nodes, out of whichever columns a dump has."""

from __future__ import annotations

from collections.abc import Mapping
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

    def _of(
        self, n_nodes: str, n_cpus: str, n_gpus: str, allocated: str, allocated_gres: str, requested: str, asked: str
    ) -> Held:
        """`asked` is the requested GRES. A site that does not track GPUs lists an allocation without any: then it is
        not 0 where some were requested, or where a resource is listed that only the site knows, but unknown.
        """
        held = self.tres(allocated)
        listed = held if held.gpus is not None or not allocated_gres else parse_gres(allocated_gres)
        gpus, gpu_type = listed.gpus, listed.gpu_type
        if n_gpus:
            gpus = self.count(n_gpus)
        elif gpus is None and (allocated or allocated_gres or self._lists_gres_alone):
            wanted = self.tres(requested).gpus or (parse_gres(asked).gpus if asked else None)
            gpus, gpu_type = (None if wanted or held.has_nameless or listed.has_nameless else 0), None
        return Held(
            self.count(n_nodes) if n_nodes else held.nodes,
            self.count(n_cpus) if n_cpus else held.cpus,
            gpus,
            gpu_type,
            held.billing,
        )
