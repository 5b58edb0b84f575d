"""Which chains a report is about, and what it is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detour.config.project import Project
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import read_plan_outline
from detour.planning.selection import select_chains
from detour.reporting.outputs import chains_by_age


@dataclass(frozen=True, slots=True)
class Scope:
    title: str
    chains: list[str]
    """The first that was planned ahead."""
    sweep: str | None = None
    """Of which they are, if they are all of one."""


def scope_of(workspace: Workspace, names: Sequence[str], project: Project | None) -> Scope:
    """As `detour.planning.selection` takes names; everything without any. Raises UserError for what names nothing."""
    known = chains_by_age(workspace)
    if not known:
        raise UserError(
            f"no chain in {workspace.root} yet: `detour run RECIPE` makes one, --workspace names another place"
        )
    wanted = set(select_chains(workspace, names)) if names else set(known)
    chains = [name for name in known if name in wanted]
    sweeps = {read_plan_outline(workspace, name).target.sweep for name in chains} if len(chains) > 1 else {None}
    sweep = sweeps.pop() if len(sweeps) == 1 else None
    if names:
        return Scope(sweep or ", ".join(dict.fromkeys(names)), chains, sweep)
    everything = chains[0] if len(chains) == 1 else f"{len(chains)} chains of {workspace.root.resolve().name}"
    return Scope(project.name if project else sweep or everything, chains, sweep)
