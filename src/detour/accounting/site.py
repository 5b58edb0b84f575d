"""A place's constants, out of its cluster profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detour.accounting.energy import Site, Sourced

if TYPE_CHECKING:
    from detour.config.cluster import Cluster, Figure


def site_of(cluster: Cluster) -> Site:
    """The constants with the sources that the profile gives them; None stays None."""
    return Site(
        name=cluster.name,
        pue=_sourced(cluster.site.pue),
        grid_g_per_kwh=_sourced(cluster.site.grid_gco2_per_kwh),
        gpu_board_w=_sourced(cluster.gpu.board_power_w if cluster.gpu else None),
        core_w=_sourced(cluster.cpu_power.watt_per_core),
        ram_w_per_gb=_sourced(cluster.cpu_power.watt_per_gb_memory),
    )


def _sourced(figure: Figure | None) -> Sourced | None:
    return None if figure is None else Sourced(figure.value, figure.source, figure.year)
