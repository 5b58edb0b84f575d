"""Which stages a person means: a chain, or one stage of it with all that hangs on it, in this and in other chains."""

from __future__ import annotations

import json

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.order import downstream
from detour.planning.stage import Stage


def chain_stages(workspace: Workspace, chain: str) -> list[Stage]:
    """A chain's stages as last planned. Raises UserError when there is no such chain."""
    path = workspace.chain(chain) / "plan.json"
    try:
        return [Stage.from_json(data) for data in json.loads(path.read_bytes())["stages"]]
    except FileNotFoundError:
        names = ", ".join(chain_names(workspace)) or "none"
        raise UserError(f"no chain {chain!r} in {workspace.root}; there are: {names}") from None
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: not a plan as detour writes it ({error}); plan the recipe again") from error


def chain_cluster(workspace: Workspace, chain: str) -> str:
    """Name of the profile that the chain was last planned with."""
    return str(json.loads((workspace.chain(chain) / "plan.json").read_bytes())["cluster"])


def chain_names(workspace: Workspace) -> list[str]:
    return sorted(path.parent.name for path in (workspace.root / "chains").glob("*/plan.json"))


def chosen_stages(workspace: Workspace, chain: str, wanted: str | None) -> list[Stage]:
    """All stages of the chain, or the one named by id or label with everything that needs it, in whatever chain.

    Stages that other chains share and that do not hang on the named one are left out.
    """
    stages = chain_stages(workspace, chain)
    if wanted is None:
        return stages
    roots = [stage.id for stage in stages if wanted in (stage.id, stage.label)]
    if not roots:
        raise UserError(f"{chain} has no stage {wanted!r}; it has: {', '.join(stage.label for stage in stages)}")
    everything = {stage.id: stage for name in chain_names(workspace) for stage in _readable(workspace, name)}
    return downstream(list(everything.values()), roots)


def only_here(workspace: Workspace, chain: str) -> list[Stage]:
    """Stages of the chain that no other chain needs."""
    elsewhere = {stage.id for name in chain_names(workspace) if name != chain for stage in _readable(workspace, name)}
    return [stage for stage in chain_stages(workspace, chain) if stage.id not in elsewhere]


def _readable(workspace: Workspace, name: str) -> list[Stage]:
    try:
        return chain_stages(workspace, name)
    except UserError:
        return []
