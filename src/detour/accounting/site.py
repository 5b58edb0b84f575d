"""A site's constants, from its cluster profile or from the plans made with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from detour.errors import UserError
from detour.planning.outlines import Outlines
from detour.site import Hourly, Month, Node, Site, Sourced, unknown_site

if TYPE_CHECKING:
    from detour.config.cluster import Cluster, Figure
    from detour.ledger.workspace import Workspace
    from detour.planning.files import Target


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


def planned_targets(workspace: Workspace) -> list[Target]:
    """Return what all chains of the workspace were last planned for."""
    return [outline.target for outline in Outlines(workspace).known().chains.values()]


def planned_sites(targets: Iterable[Target]) -> dict[str, Site]:
    """Return the constants of each profile by name, from the plan that was made last."""
    return {target.site.name: target.site for target in sorted(targets, key=_planned_s) if target.site is not None}


def planned_profiles(targets: Iterable[Target]) -> dict[str | None, Mapping[str, Any]]:
    """Return each profile by name, as JSON, from the plan that was made last."""
    return {target.cluster: target.profile for target in sorted(targets, key=_planned_s) if target.profile is not None}


def recorded_profiles(targets: Iterable[Target] = ()) -> Callable[[str | None], Cluster | None]:
    """Return a function from recorded names to profiles: those in the plans made last, otherwise those in files.

    Recorded names come from journals, so they are looked up among known profiles, never opened as paths.
    """
    from detour.config.cluster import Cluster
    from detour.config.loading import available_clusters, load_cluster

    held = planned_profiles(targets)

    @cache
    def profile(name: str | None) -> Cluster | None:
        if name in held:
            with suppress(ValueError):  # a damaged plan
                return Cluster.model_validate(held[name])
        return load_cluster(name) if name is not None and name in available_clusters() else None

    return profile


def profile_sites(targets: Iterable[Target], cluster: Cluster | None = None) -> Callable[[str | None], Site]:
    """Return a function from recorded profile names to constants, or always to those of `cluster` if given.

    `targets` are those of all chains of a workspace, so that every command finds the same constants, in whatever folder
    and for whatever chains. Only those of a profile that no plan has are read from its current file.
    """
    planned = planned_sites(targets)

    @cache
    def site(name: str | None) -> Site:
        if cluster is not None:
            return site_of(cluster)
        if name is None or name in planned:
            return planned.get(name or "", unknown_site(name))
        found = recorded_profiles()(name)  # reads profiles, which takes as long as the rest of a status
        return unknown_site(name) if found is None else site_of(found)

    return site


def outdated_constants(targets: Sequence[Target]) -> list[str]:
    """Return a message for each profile that was found by its name and has other constants there now than in plans."""
    planned, current = recorded_profiles(targets), recorded_profiles()
    messages = []
    for name in sorted({target.cluster for target in targets if target.cluster and not target.from_file}):
        with suppress(UserError):  # a file that cannot be read
            ours, now = planned(name), current(name)
            if ours and now and (site_of(ours), ours.billing) != (site_of(now), now.billing):
                messages.append(
                    f"the profile {name} has other constants here than in the last plan made with it, which are used: "
                    "submit or run one of its chains again to use those of the file"
                )
    return messages


def _planned_s(target: Target) -> float:
    return target.planned_s or 0.0


def _node(cluster: Cluster) -> Node | None:
    if cluster.gpu is None:
        return None
    return Node(cluster.gpu.per_node, cluster.cores_per_node, cluster.billing.rule == "whole-node")


def _sourced(figure: Figure | None) -> Sourced | None:
    if figure is None:
        return None
    kind, zone = (getattr(figure, name, None) for name in ("kind", "zone"))
    return Sourced(figure.value, figure.source, figure.year, kind, zone)
