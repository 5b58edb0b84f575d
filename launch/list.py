"""`detour list`: chains with their sweeps, or stages with their ids."""

from __future__ import annotations

import click

from detour.launch.options import json_option, optional_names_argument, workspace_option
from detour.launch.text.listing import chain_lines, chains_json, name_lines, stage_lines
from detour.launch.text.screen import show, show_json, warn
from detour.ledger.workspace import Workspace
from detour.planning.selection import known_chains, select_chains


@click.command()
@optional_names_argument
@click.option("--stages", is_flag=True, help="Also the stages of each chain, with their ids.")
@click.option(
    "--names", "only_names", is_flag=True, help="Only names, or with --stages ids, one per line, for scripts."
)
@workspace_option
@json_option
def command(names: tuple[str, ...], stages: bool, only_names: bool, workspace: Workspace, as_json: bool) -> None:
    """List chains and sweeps, or stages with their ids.

    Reads only the plans: neither the ledger nor Slurm is asked.
    """
    known = known_chains(workspace)
    chains = select_chains(workspace, names, known) if names else tuple(known.chains)
    outlines = [known.chains[name] for name in chains if name in known.chains]
    warn(known.unreadable)
    if as_json:
        show_json(chains_json(outlines))
    elif only_names:
        show(*name_lines(outlines, stages=stages))
    elif stages:
        show(*stage_lines(outlines, known.needed_by()))
    else:
        show(*chain_lines(outlines, workspace))
