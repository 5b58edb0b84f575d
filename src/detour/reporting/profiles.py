"""Cluster profiles by the names that attempts recorded, each read once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from detour.config.cluster import Cluster
from detour.config.loading import available_clusters, load_cluster
from detour.reporting.costs import Counted
from detour.reporting.report import Hardware


class Profiles:
    """Loads profiles by recorded names. These come from journals, so they are never opened as paths."""

    def __init__(self) -> None:
        self.of = cache(self._of)

    def _of(self, name: str | None) -> Cluster | None:
        return load_cluster(name) if name is not None and name in available_clusters() else None

    def hardware(self, attempts: Iterable[Counted]) -> list[Hardware]:
        """Return the hardware of each cluster, in the order of first use."""
        by_cluster: dict[str | None, list[Counted]] = {}
        for attempt in attempts:
            by_cluster.setdefault(attempt.cluster, []).append(attempt)
        return [self._hardware(name, ran) for name, ran in by_cluster.items()]

    def _hardware(self, name: str | None, ran: list[Counted]) -> Hardware:
        profile = self.of(name)
        gpu = profile.gpu if profile else None
        return Hardware(
            cluster=name or "an unknown cluster",
            gpu=gpu.type if gpu else None,
            gpu_memory_gb=gpu.memory_gb if gpu else None,
            most_gpus=max((one.usage.gpus for one in ran if one.usage.gpus is not None), default=None),
            most_cpus=max((one.usage.cpus for one in ran if one.usage.cpus is not None), default=None),
            country=profile.site.country if profile else None,
            simulated=gpu is not None and gpu.simulated,
        )
