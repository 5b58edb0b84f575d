"""Events of a newer version in the ledger: every verb works, and reports what it left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from detour.config.loading import load_cluster
from detour.launch.verbs import detour
from detour.ledger.workspace import Workspace
from detour.orchestration.order import PlanGroup, make_order
from detour.orchestration.requests import JobOptions
from detour.planning.plan import Plan
from tests.ledger.payloads import WRITTEN_BEFORE
from tests.support.past import Past
from tests.support.stages import make_stages

QUICKSTART = str(Path(__file__).parents[2] / "configs/recipes/quickstart.yaml")
LEFT_OUT = "events in the ledger were left out"


@pytest.fixture
def workspace(workspace: Workspace) -> Workspace:
    """A workspace whose ledger has every kind of event with an unexpected payload."""
    past = Past(workspace)
    for kind in WRITTEN_BEFORE:
        data = {name: {"since": "schema 2"} for name in WRITTEN_BEFORE[kind]}
        past.add(kind, 1.7e9, data, stage="pretrain-1", attempt=1)
        past.add(kind, 1.7e9, data)
    past.write()
    return workspace


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--json"],
        ["prices", "--json"],
        ["budget", "--json"],
        ["plan", QUICKSTART, "--cluster", "slurm-local", "--json"],
        ["submit", QUICKSTART, "--cluster", "slurm-local", "--dry-run", "--json"],
    ],
)
def test_every_verb_works_and_names_foreign_events(workspace: Workspace, arguments: list[str]) -> None:
    result = CliRunner().invoke(detour, [*arguments, "-w", str(workspace.root)], catch_exceptions=False)
    assert result.exit_code == 0
    assert LEFT_OUT in result.output
    json.loads(result.stdout)


def test_the_warning_comes_with_an_order(workspace: Workspace) -> None:
    order = make_order(
        workspace, PlanGroup("base", [Plan("base", make_stages())]), load_cluster("slurm-local"), JobOptions()
    )
    assert len(order.warnings) == 1
    assert LEFT_OUT in order.warnings[0]
