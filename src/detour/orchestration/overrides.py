"""Accepting a promotion that a gate refused: the next retry promotes it, and every report says so."""

from __future__ import annotations

from typing import NamedTuple

from detour.checkpoints.acceptance import accept_gate
from detour.checkpoints.gates import OVERRIDABLE
from detour.errors import UserError
from detour.ledger.events import GateOverridden
from detour.ledger.folders import refuse_links
from detour.ledger.journal import command_journal
from detour.ledger.process import user_name
from detour.ledger.workspace import Workspace
from detour.orchestration.failures import failure_reason
from detour.planning.files import StageOutline, read_plan_outline


class Overridden(NamedTuple):
    stage: str
    """Its label."""
    gate: str
    why: str
    refusal: str
    """What the gate said."""


def override_gate(workspace: Workspace, chain: str, gate: str, why: str, stage: str | None = None) -> Overridden:
    """Accept what `gate` refused in the chain's failed promotion, or in the one that `stage` names by id or label.

    Raises UserError for a gate that cannot be overridden, or if no promotion was refused by it.
    """
    if gate not in OVERRIDABLE:
        raise UserError(
            f"gate {gate!r} cannot be overridden: only gates of quality can ({', '.join(OVERRIDABLE)}); the others "
            "refuse what is not the checkpoint that was planned"
        )
    if not why.strip():
        raise UserError("--why is empty: say why the checkpoint is good enough, for those who build on it")
    refused = _refused(workspace, chain, stage)
    reason = failure_reason(workspace, refused.id)
    if f"(gate {gate}" not in reason:
        raise UserError(f"{refused.label} was not refused by gate {gate}; it says: {reason}")
    folder = workspace.stage(refused.id)
    refuse_links(workspace.root, folder)
    user = user_name()
    with command_journal(workspace) as journal:
        journal.append(GateOverridden(gate=gate, why=why, user=user), chain=chain, stage=refused.id)
    accept_gate(folder, gate, why, user)
    return Overridden(refused.label, gate, why, reason)


def _refused(workspace: Workspace, chain: str, wanted: str | None) -> StageOutline:
    promotions = [stage for stage in read_plan_outline(workspace, chain).stages if stage.kind == "promote"]
    if wanted is not None:
        promotions = [stage for stage in promotions if wanted in (stage.id, stage.label)]
    failed = [stage for stage in promotions if workspace.has_failed(stage.id)]
    if not failed:
        which = f"{chain} has no promotion {wanted!r} that" if wanted else f"no promotion of {chain}"
        raise UserError(f"{which} was refused; `{workspace.command('status', chain)}` shows where it is")
    return failed[0]
