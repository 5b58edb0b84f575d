"""A workspace in which one chain was planned and finished twice, with another recipe the second time."""

from __future__ import annotations

from detour.ledger.events import ChainPlanned
from detour.ledger.journal import command_journal
from detour.ledger.workspace import Workspace
from detour.planning.files import write_stage
from detour.planning.stage import Stage
from tests.cards.made_up import run_chain, stages


def planned(workspace: Workspace, name: str, of_chain: list[Stage]) -> str:
    """Return the id of the chain's export."""
    for stage in of_chain:
        write_stage(workspace, stage)
    with command_journal(workspace) as journal:
        journal.append(ChainPlanned(cluster="local", stages=[stage.id for stage in of_chain]), chain=name)
    return next(stage.id for stage in of_chain if stage.kind == "export")


def two_versions(workspace: Workspace) -> tuple[str, str]:
    """Return the ids of the two exports, the older first; the second is that of the present recipe."""
    run_chain(workspace, "base", "masked", gain=-2.0)
    first = planned(workspace, "base", stages("masked"))
    run_chain(workspace, "base", "causal")
    return first, planned(workspace, "base", stages("causal"))
