"""Which stages a person means: a chain, or one stage of it with its dependents, in this and in other chains."""

from __future__ import annotations

from collections.abc import Sequence

from detour.errors import UserError
from detour.ledger.workspace import Workspace
from detour.planning.files import StageOutline, chain_names, read_plan_outline
from detour.planning.order import downstream


def chain_stages(workspace: Workspace, chain: str) -> Sequence[StageOutline]:
    """A chain's stages as last planned. Raises UserError when there is no such chain."""
    return read_plan_outline(workspace, chain).stages


def chosen_stages(workspace: Workspace, chain: str, wanted: str | None) -> Sequence[StageOutline]:
    """All stages of the chain, or the one named by id or label with everything that needs it, in whatever chain.

    Stages that other chains share and that do not depend on the named one are left out.
    """
    stages = chain_stages(workspace, chain)
    if wanted is None:
        return stages
    roots = [stage.id for stage in stages if wanted in (stage.id, stage.label)]
    if not roots:
        raise UserError(f"{chain} has no stage {wanted!r}; it has: {', '.join(stage.label for stage in stages)}")
    everything = {stage.id: stage for name in chain_names(workspace) for stage in readable_stages(workspace, name)}
    return downstream(list(everything.values()), roots)


def only_here(workspace: Workspace, chain: str) -> list[StageOutline]:
    """Stages of the chain that no other chain needs."""
    others = (name for name in chain_names(workspace) if name != chain)
    elsewhere = {stage.id for name in others for stage in readable_stages(workspace, name)}
    return [stage for stage in chain_stages(workspace, chain) if stage.id not in elsewhere]


def readable_stages(workspace: Workspace, chain: str) -> Sequence[StageOutline]:
    """A chain's stages; none where its plan cannot be read."""
    try:
        return chain_stages(workspace, chain)
    except UserError:
        return ()
