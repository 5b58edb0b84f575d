"""`detour clusters`: lists the cluster profiles, or shows one in full, with its sources."""

from __future__ import annotations

import click

from detour.config.loading import available_clusters, load_cluster, profile_path, read_profile
from detour.config.problems import shown
from detour.launch.completing import complete_clusters
from detour.launch.options import json_option
from detour.launch.text.cluster import cluster_json, page, profile_json, table
from detour.launch.text.screen import columns, show, show_json


@click.command()
@click.argument("name", required=False, shell_complete=complete_clusters)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the cluster profiles, or show one with its sources.

    NAME may also be a file.
    """
    if name is not None:
        cluster, path = load_cluster(name), profile_path(name)
        if as_json:
            show_json(cluster_json(cluster, path))
        else:
            show(page(cluster, shown(path), columns()))
        return
    profiles = [read_profile(known) for known in available_clusters()]
    if as_json:
        show_json([profile_json(profile) for profile in profiles])
    else:
        show(table(profiles, columns()))
