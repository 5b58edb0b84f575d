"""Energy of a job's nodes other than the first."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from detour.jobs.node_energy import node_energy, this_start
from detour.jobs.rank import read_rank
from detour.ledger.events import EnergyRead
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace

STAGE = "pretrain-0123456789abcdef"
SECOND_NODE = replace(read_rank({}), rank=4, world_size=8, local_rank=0, local_world_size=4, node_rank=1)


def write_attempt(workspace: Workspace, number: int, restart: str) -> None:
    folder = workspace.stage(STAGE) / "attempts"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{number:04d}.json").write_text(json.dumps({"job": "7", "restart": restart, "node": "n1", "pid": 1}))


def test_the_first_rank_of_another_node_records_under_the_current_attempt(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    write_attempt(workspace, 1, restart="0")
    with node_energy(workspace, STAGE, SECOND_NODE, "7") as sampler:
        assert sampler is not None
        write_attempt(workspace, 2, restart="1")
    (attempt,) = LedgerView(workspace).state.stages[STAGE].attempts
    assert (attempt.number, attempt.job) == (2, "7")
    (entry,) = attempt.readings.values()
    assert isinstance(entry.event, EnergyRead)
    assert entry.event.why == "end"
    assert this_start("7") == {"job": "7", "restart": "1"}


def test_other_ranks_and_the_first_node_record_nothing(workspace: Workspace) -> None:
    for rank in (replace(SECOND_NODE, local_rank=1), replace(SECOND_NODE, node_rank=0)):
        with node_energy(workspace, STAGE, rank, "7") as sampler:
            assert sampler is None
    assert not list(workspace.ledger.rglob("*.jsonl"))
