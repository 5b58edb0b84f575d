"""`--cluster`: a profile by name or file, read where the option is parsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.launch.completing import complete_clusters


class Profile(click.ParamType[Cluster]):
    """A name in the list of `detour clusters`, or a file. Raises RecipeError for an invalid profile."""

    name = "profile"

    def convert(self, value: Any, _parameter: click.Parameter | None, _context: click.Context | None) -> Cluster:
        return value if isinstance(value, Cluster) else load_cluster(value)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:  # noqa: ARG002
        return "Name the profile of the cluster; `detour clusters` lists them."


def cluster_option(text: str, **more: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Pass `cluster`, a Cluster, to the verb; None if it is left out and has no default."""
    return click.option("--cluster", type=Profile(), shell_complete=complete_clusters, help=text, **more)


def cluster_name_option(text: str, **more: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like `cluster_option`, but pass the name or file as it was given."""
    return click.option("--cluster", metavar="PROFILE", shell_complete=complete_clusters, help=text, **more)
