"""`detour override`: accepts a checkpoint that a gate refused, with a reason."""

from __future__ import annotations

import click

from detour.launch.options import written_workspace_option
from detour.launch.text.screen import show
from detour.ledger.workspace import Workspace
from detour.orchestration.overrides import override_gate
from detour.text import plain


@click.command()
@click.argument("chain")
@click.argument("gate")
@click.option("--why", required=True, metavar="REASON", help="Recorded in the ledger and in the promoted checkpoint.")
@click.option("--stage", help="The promotion, by id or label, if several were refused.")
@written_workspace_option
def command(chain: str, gate: str, why: str, stage: str | None, workspace: Workspace) -> None:
    """Accept a checkpoint that a gate refused, with a reason.

    Only gates that judge its quality: gradient_norm, validation_loss, baseline, perplexity, probe. Nothing runs before
    `detour retry CHAIN`.
    """
    done = override_gate(workspace, chain, gate, why, stage)
    show(
        plain(f"{done.stage}: {done.refusal}"),
        plain(f"gate {done.gate} is overridden: {done.why}"),
        f"`{workspace.command('retry', chain)}` continues it",
    )
