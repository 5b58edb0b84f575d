"""`detour clusters`: which cluster profiles there are, and all that one of them says, with where it has it from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import click

from detour.config.cluster import Cluster
from detour.config.layers import config_roots, find_named
from detour.config.loading import RecipeError, available_clusters, load_cluster
from detour.config.problems import shown
from detour.config.quantities import write_duration
from detour.launch.options import json_option
from detour.launch.text.cluster import page
from detour.monitoring.text import cut, plain

WIDTH = 100
HEADINGS = ("name", "GPUs", "longest", "account")


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile that is there, or what is wrong with it."""

    name: str
    path: Path
    cluster: Cluster | None
    problem: str | None = None


@click.command(help="List the cluster profiles, or show one with its sources.")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """NAME may also be a file."""
    if name is not None:
        cluster, path = load_cluster(name), profile_path(name)
        if as_json:
            click.echo(json.dumps({"file": str(path), **cluster.model_dump(mode="json")}, indent=1, ensure_ascii=False))
        else:
            click.echo(page(cluster, shown(path), WIDTH))
        return
    profiles = [read(known) for known in available_clusters()]
    if as_json:
        click.echo(json.dumps([_row_json(profile) for profile in profiles], indent=1, ensure_ascii=False))
    else:
        click.echo(table(profiles))


def profile_path(name: str) -> Path:
    """The file behind what `load_cluster` takes."""
    return find_named("clusters", name)[0] or Path(name).absolute()


def read(name: str) -> Profile:
    """A profile that cannot be read is listed with its first problem, and keeps no other from being listed."""
    try:
        return Profile(name, profile_path(name), load_cluster(name))
    except RecipeError as error:
        return Profile(name, profile_path(name), None, str(error.problems[0]))


def table(profiles: list[Profile]) -> str:
    """By folder, since a file in `./configs/clusters` hides a shipped one of its name; fits 100 columns."""
    rows = {profile.name: _row(profile) for profile in profiles}
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows.values(), strict=True)]
    lines = []
    for folder in (root / "clusters" for root in config_roots()):
        if here := [profile for profile in profiles if profile.path.parent == folder]:
            lines += [cut(f"{shown(folder)}:", WIDTH), _line(HEADINGS, widths, "")]
            lines += [_line(rows[profile.name], widths, plain(_told(profile))) for profile in here]
            lines.append("")
    lines += [fill(f"not readable: {plain(profile.problem)}", WIDTH) for profile in profiles if profile.problem]
    return "\n".join([*lines, "`detour clusters NAME` shows one whole, `detour doctor --cluster NAME` checks it."])


def _told(profile: Profile) -> str:
    return profile.cluster.description if profile.cluster else "not readable, see below"


def _row(profile: Profile) -> tuple[str, str, str, str]:
    cluster = profile.cluster
    if cluster is None:
        return (profile.name, "", "", "")
    gpus = f"{cluster.gpu.per_node} x {plain(cluster.gpu.type)}" if cluster.gpu else "none"
    account = cluster.full_account("gpu" if cluster.gpu else "cpu") or "none"
    return (profile.name, gpus, longest_run(cluster), plain(account))


def _line(cells: tuple[str, ...], widths: list[int], text: str) -> str:
    columns = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))
    return cut(f"  {columns}  {text}".rstrip(), WIDTH)


def longest_run(cluster: Cluster) -> str:
    """Of a GPU job, as far as the profile knows."""
    if cluster.scheduler == "local":
        return "no limit"
    walls = [qos.wall for qos in cluster.qos if "gpu" in qos.use] + [cluster.gpu_partition.wall]
    known = [wall for wall in walls if wall is not None]
    return write_duration(max(known)) if known else "unknown"


def _row_json(profile: Profile) -> dict[str, object]:
    if profile.cluster is None:
        return {"name": profile.name, "file": str(profile.path), "problem": profile.problem}
    kept = profile.cluster.model_dump(mode="json", include={"description", "scheduler", "account", "sources"})
    return {"name": profile.name, "file": str(profile.path), **kept, "problem": None}
