"""Accepting a refused checkpoint needs a reason, and is impossible for another one than planned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from detour.checkpoints.acceptance import ACCEPTED, accepted_gates
from detour.errors import UserError
from detour.launch.override import command
from detour.ledger.events import GateOverridden
from detour.ledger.reading import history
from detour.ledger.workspace import Workspace
from detour.orchestration.overrides import override_gate
from detour.planning.stage import Stage
from tests.reporting.fabricate import write_chain
from tests.support.stages import make_stages

REASON = "not promoted: validation loss 3.0 - 2.9 = a drop of 0.1 nats, not above the gate's minimum of 0.5 (gate validation_loss, missed by 0.4)"  # noqa: E501


@pytest.fixture
def refused(tmp_path: Path) -> tuple[Workspace, Stage]:
    """A chain whose first promotion was refused."""
    workspace = Workspace(tmp_path)
    workspace.create()
    stages = list(make_stages({}))
    write_chain(workspace, "chain", stages)
    promotion = next(stage for stage in stages if stage.kind == "promote")
    workspace.stage(promotion.id).mkdir(parents=True)
    workspace.failure(promotion.id).write_text(json.dumps({"reason": REASON}))
    return workspace, promotion


def test_the_reason_is_kept_for_the_job_and_in_the_ledger(refused: tuple[Workspace, Stage]) -> None:
    workspace, promotion = refused
    done = override_gate(workspace, "chain", "validation_loss", "a known plateau")
    assert (done.stage, done.refusal) == (promotion.label, REASON)
    assert accepted_gates(workspace.stage(promotion.id)) == {"validation_loss": "a known plateau"}
    (entry,) = history(workspace, (GateOverridden,))
    assert (entry.stage, entry.chain, entry.event.why) == (promotion.id, "chain", "a known plateau")


@pytest.mark.parametrize(
    ("gate", "why", "stage", "message"),
    [
        ("finite", "who cares", None, "gate 'finite' cannot be overridden"),
        ("tokens", "who cares", None, "gate 'tokens' cannot be overridden"),
        ("perplexity", "why not", None, "was not refused by gate perplexity; it says: not promoted: validation loss"),
        ("validation_loss", "  ", None, "--why is empty"),
        ("validation_loss", "why", "promote nothing", "chain has no promotion 'promote nothing' that was refused"),
    ],
)
def test_an_override_that_is_not_possible_changes_nothing(
    refused: tuple[Workspace, Stage], gate: str, why: str, stage: str | None, message: str
) -> None:
    workspace, promotion = refused
    with pytest.raises(UserError) as error:
        override_gate(workspace, "chain", gate, why, stage)
    assert message in str(error.value)
    assert not (workspace.stage(promotion.id) / ACCEPTED).exists()


def test_without_a_refusal_there_is_nothing_to_override(refused: tuple[Workspace, Stage]) -> None:
    workspace, promotion = refused
    workspace.failure(promotion.id).unlink()
    with pytest.raises(UserError, match="no promotion of chain was refused"):
        override_gate(workspace, "chain", "validation_loss", "why")


def test_a_damaged_acceptance_accepts_nothing(tmp_path: Path) -> None:
    (tmp_path / ACCEPTED).write_text('{"baseline": "yes"}')
    with pytest.raises(UserError, match="not written by detour"):
        accepted_gates(tmp_path)


def test_the_command_prints_what_was_refused_and_what_comes_next(refused: tuple[Workspace, Stage]) -> None:
    workspace, promotion = refused
    shown = CliRunner().invoke(command, ["chain", "validation_loss", "--why", "known", "-w", str(workspace.root)])
    assert shown.exit_code == 0
    assert shown.output.splitlines() == [
        f"{promotion.label}: {REASON}",
        "gate validation_loss is overridden: known",
        f"`detour retry -w {workspace.root} chain` continues it",
    ]
