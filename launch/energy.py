"""`detour energy`: energy and CO2 of chains by method, or according to files of other tools."""

from __future__ import annotations

import time
from pathlib import Path

import click

from detour.accounting.account import chain_energies
from detour.accounting.energy_files import read_energy_file
from detour.accounting.periods import unread_hours
from detour.accounting.site import outdated_constants, planned_targets, profile_sites
from detour.files import is_file_or_pipe
from detour.launch.options import Figure, json_option, workspace_option
from detour.launch.text.energy import chain_energy_lines, energy_json
from detour.launch.text.energy_files import file_json, file_lines
from detour.launch.text.screen import show, show_json, warn
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.accounts import record_accounts
from detour.planning.files import chain_names, read_plan_outline
from detour.planning.selection import select_chains


@click.command()
@click.argument("names", nargs=-1, metavar="[CHAIN|FILE]...")
@workspace_option
@click.option("--pue", type=Figure(1.0), help="PUE included in the files' energy, if they do not give it.")
@json_option
def command(names: tuple[str, ...], workspace: Workspace, pue: float | None, as_json: bool) -> None:
    """Show energy and CO2 by method, or read other tools' files.

    FILE is a CSV of codecarbon or of CEEMS (cacct --csv). Each file is checked and shown separately; after a CHAIN,
    with the jobs that are in both.
    """
    files = [name for name in names if is_file_or_pipe(Path(name)) or name.endswith((".csv", ".json"))]
    read = [read_energy_file(Path(name), pue) for name in files]
    words = [name for name in names if name not in files]
    chains = select_chains(workspace, words) if names else chain_names(workspace)
    view = LedgerView(workspace)
    if chains:
        warn(record_accounts(view))
    warn(view.warnings)
    plans = [read_plan_outline(workspace, name) for name in chains]
    targets = planned_targets(workspace)
    sites = profile_sites(targets)
    warn(outdated_constants(targets))
    energies = chain_energies(view.state, plans, sites, time.time())
    warn(unread_hours(sites(name) for name in dict.fromkeys(site.site for one in energies for site in one.sites)))
    if as_json:
        show_json({"chains": list(map(energy_json, energies)), "files": [file_json(file, energies) for file in read]})
        return
    if not energies and not read:
        show(f"No chain in {workspace.root}, so no energy.")
    for energy in energies:
        show(*chain_energy_lines(energy))
    for file in read:
        show(*file_lines(file, energies))
