"""A site's constants, from its cluster profile."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from detour.site import Hourly, Month, Node, Site, Sourced, unknown_site

if TYPE_CHECKING:
    from detour.config.cluster import Cluster, Figure


def site_of(cluster: Cluster) -> Site:
    """Return the constants with their sources in the profile; missing ones are None."""
    site, hourly = cluster.site, cluster.site.grid_hourly
    return Site(
        name=cluster.name,
        pue=_sourced(site.pue),
        grid_g_per_kwh=_sourced(site.grid_gco2_per_kwh),
        gpu_board_w=_sourced(cluster.gpu.board_power_w if cluster.gpu else None),
        core_w=_sourced(cluster.cpu_power.watt_per_core),
        ram_w_per_gb=_sourced(cluster.cpu_power.watt_per_gb_memory),
        embodied_g_per_gpu_hour=_sourced(site.embodied_gco2_per_gpu_hour),
        idle_kwh_per_kwh=_sourced(site.idle_kwh_per_kwh),
        months=tuple(
            Month(name, _sourced(month.pue), _sourced(month.grid_gco2_per_kwh)) for name, month in site.months.items()
        ),
        hourly=Hourly(hourly.path, hourly.source, hourly.kind, hourly.zone) if hourly else None,
        node=_node(cluster),
    )


def profile_sites(cluster: Cluster | None = None) -> Callable[[str | None], Site]:
    """Return a function from recorded profile names to constants, or always to those of `cluster` if given.

    Recorded names come from journals, so they are looked up among known profiles, never opened as paths.
    """
    from detour.config.loading import available_clusters, load_cluster

    chosen = site_of(cluster) if cluster else None

    @cache
    def site(name: str | None) -> Site:
        if chosen is not None:
            return chosen
        if name is None or name not in available_clusters():
            return unknown_site(name)
        return site_of(load_cluster(name))

    return site


def _node(cluster: Cluster) -> Node | None:
    if cluster.gpu is None:
        return None
    return Node(cluster.gpu.per_node, cluster.cores_per_node, cluster.billing.rule == "whole-node")


def _sourced(figure: Figure | None) -> Sourced | None:
    if figure is None:
        return None
    kind, zone = (getattr(figure, name, None) for name in ("kind", "zone"))
    return Sourced(figure.value, figure.source, figure.year, kind, zone)
