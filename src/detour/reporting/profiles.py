"""The hardware of a report's attempts, from the cluster profiles by the names that they recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from detour.config.cluster import Cluster
from detour.grouping import grouped
from detour.reporting.costs import Counted
from detour.reporting.report import Hardware

ProfileOf = Callable[[str | None], Cluster | None]
"""Name of a cluster profile (None: not recorded) -> the profile, if it is known."""


def hardware_of(attempts: Iterable[Counted], profile_of: ProfileOf) -> list[Hardware]:
    """Return the hardware of each cluster, in the order of first use."""
    by_cluster = grouped((attempt.cluster, attempt) for attempt in attempts)
    return [_hardware(name, ran, profile_of(name)) for name, ran in by_cluster.items()]


def _hardware(name: str | None, ran: list[Counted], profile: Cluster | None) -> Hardware:
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
