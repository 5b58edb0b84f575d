"""`detour card`: writes a chain's model card into a hub folder, verifies any card, and pushes the folder."""

from __future__ import annotations

from pathlib import Path

import click

from detour.accounting.energy import Method
from detour.cards.about_file import about_chain, load_about
from detour.cards.conventions import Convention
from detour.cards.gathering import gather
from detour.cards.hub_folder import Record, default_folder, write_hub_folder
from detour.cards.pushing import push as push_folder
from detour.cards.rendering import TEMPLATE, read_template, render
from detour.cards.verifying import verify_card
from detour.config.cluster import Cluster
from detour.config.loading import load_cluster
from detour.launch.cluster_option import cluster_name_option, cluster_option
from detour.launch.default_command import WriteByDefault
from detour.launch.options import Figure, FilePath, json_option, workspace_option, written_workspace_option
from detour.launch.text.card import show_findings
from detour.launch.text.screen import show, warn
from detour.ledger.identity import workspace_id
from detour.ledger.workspace import Workspace

FILE = FilePath(exists=True, dir_okay=False, path_type=Path)
METHODS = {method.name.lower(): method for method in Method}


@click.group(cls=WriteByDefault, options_metavar="", subcommand_metavar="CHAIN | verify CARD | push FOLDER")
def command() -> None:
    """Write, verify or push a model card with its hub folder.

    `detour card CHAIN` writes it from the ledger; `detour card write --help` lists the options. See docs/models.md.
    """


@command.command()
@click.argument("chain")
@written_workspace_option
@click.option("--about", type=FILE, help="Facts that only people know.  [default: configs/cards/CHAIN.yaml, if any]")
@click.option("--template", type=FILE, help="A Jinja template to use instead of the shipped one.")
@click.option("--method", type=click.Choice(list(METHODS)), help="Method of the metadata's CO2.  [default: the best]")
@cluster_name_option("Take PUE, grid factor and power from this profile, wherever the jobs ran.")
@click.option("--out", "-o", type=FilePath(path_type=Path), help="The folder.  [default: WORKSPACE/hub/CHAIN]")
@click.option("--print", "only_text", is_flag=True, help="Print the card and write nothing.")
def write(
    chain: str,
    workspace: Workspace,
    about: Path | None,
    template: Path | None,
    method: str | None,
    cluster: str | None,
    out: Path | None,
    only_text: bool,
) -> None:
    """Write a chain's card and its exported model into a hub folder."""
    chosen = METHODS[method] if method else None
    said = load_about(about) if about else about_chain(chain)
    text, template_name = read_template(template) if template else None, str(template or TEMPLATE)
    content = gather(workspace, chain, said, method=chosen, cluster=None if cluster is None else load_cluster(cluster))
    warn(content.warnings)
    if only_text:
        show(render(content, text, template_name).rstrip("\n"))
        return
    folder = out or default_folder(workspace, chain)
    record = Record(chain, workspace_id(workspace.root), said, chosen, cluster, text)
    write_hub_folder(workspace, folder, content, record, template_name)
    show(f"Card and model written to {folder}")


@command.command()
@click.argument("card", type=FilePath(exists=True, path_type=Path))
@workspace_option
@cluster_option("Judge CO2 by this profile's power, PUE and grid factor.")
@click.option("--power", type=Figure(0.0, min_open=True), metavar="KW", help="GPU power; replaces the profile's.")
@click.option("--pue", type=Figure(1.0), help="PUE; replaces the profile's.")
@click.option("--factor", type=Figure(0.0), metavar="G_PER_KWH", help="gCO2eq per kWh; replaces the profile's.")
@json_option
def verify(
    card: Path,
    workspace: Workspace,
    cluster: Cluster | None,
    power: float | None,
    pue: float | None,
    factor: float | None,
    as_json: bool,
) -> None:
    """Recompute a card's numbers, from the ledger or by arithmetic."""
    show_findings(card, verify_card(card, workspace, Convention.chosen(cluster, power, pue, factor)), as_json=as_json)


@command.command()
@click.argument("folder", type=FilePath(exists=True, file_okay=False, path_type=Path))
@click.option("--repository", metavar="OWNER/NAME", help="Repository on the hub.  [default: the about file's]")
@click.option("--private", is_flag=True, help="If the repository is new, make it private.")
def push(folder: Path, repository: str | None, private: bool) -> None:
    """Push a hub folder, from a login node with network access."""
    show(f"Pushed: {push_folder(folder, repository, private=private)}")
