"""The chains that a report covers, and its title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detour.config.project import Project
from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import chain_names, read_plan
from detour.planning.plan import Plan
from detour.planning.selection import select_chains
from detour.reporting.outputs import by_age


@dataclass(frozen=True, slots=True)
class Scope:
    title: str
    plans: list[Plan]
    """Plans of the chains, the oldest first."""
    sweep: str | None = None
    """The sweep that all of them belong to, if any."""


def scope_of(workspace: Workspace, names: Sequence[str], project: Project | None) -> Scope:
    """Select chains by name (`detour.planning.selection`), or all. Raises UserError for a name without a match."""
    known = chain_names(workspace)
    if not known:
        raise UserError(
            f"no chain in {workspace.root} yet: `detour run RECIPE` makes one, --workspace names another place"
        )
    wanted = select_chains(workspace, names) if names else known
    read = [read_plan(workspace, name) for name in by_age(workspace, wanted)]
    plans, sweeps = [plan for plan, _ in read], {target.sweep for _, target in read}
    sweep = sweeps.pop() if len(plans) > 1 and len(sweeps) == 1 else None
    if names:
        return Scope(sweep or ", ".join(dict.fromkeys(names)), plans, sweep)
    everything = plans[0].chain if len(plans) == 1 else f"{len(plans)} chains of {workspace.root.resolve().name}"
    return Scope(project.name if project else sweep or everything, plans, sweep)
