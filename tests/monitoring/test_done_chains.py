"""A chain that is done is read from the cache only while everything it was made of is unchanged."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from detour.ledger import cache
from detour.ledger import view as views
from detour.ledger.events import ChainPriced, ChainSubmitted, EnergyRead, GpuCounted, JobAccounted, PriceQuoted
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.monitoring import done_chains
from detour.monitoring.monitor import Monitor
from detour.monitoring.status import Status
from detour.planning.stage import Stage
from tests.monitoring.workspaces import PREPARE, PROMOTE, TRAIN, end, make_workspace, mark_done, start

STAGES = (PREPARE, TRAIN, PROMOTE)
BEGAN_S = time.time()


@pytest.fixture(autouse=True)
def node(node_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary folder; anything is worth caching there."""
    monkeypatch.setattr(views, "WORTH_KEEPING", 1)
    monkeypatch.setattr(done_chains, "WORTH_KEEPING", 1)
    return node_folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A chain that is done, with its cached status; later changes are not worth caching."""
    made = make_workspace(tmp_path)
    for number, stage in enumerate(STAGES):
        attempt = start(made, stage, job=str(number))
        if stage is TRAIN:
            attempt.event(reading("GPU-1", BEGAN_S))
        end(attempt, elapsed_s=60.0)
        mark_done(made, stage)
    status_of(made)
    monkeypatch.setattr(views, "WORTH_KEEPING", 1000)
    return made


def reading(uuid: str, began_s: float) -> EnergyRead:
    gpu: GpuCounted = {
        "counter_j": 5e3,
        "power_w": 500.0,
        "energy_j": 1e3,
        "sampled_j": 0.0,
        "seen_s": 60.0,
        "resets": 0,
        "share": 1.0,
    }
    return EnergyRead(why="end", node="n", began_s=began_s, elapsed_s=60.0, gpus={uuid: gpu})


def status_of(workspace: Workspace) -> Status:
    return Monitor(workspace, with_segments=False).look(now_s=2e9)


def stages_looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of the stages whose rows are computed from now on."""
    noted: list[str] = []
    real = Monitor._stage

    def note(monitor: Monitor, planned: Stage, *rest: object) -> object:
        noted.append(planned.id)
        return real(monitor, planned, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Monitor, "_stage", note)
    return noted


def cache_file(node: Path) -> Path:
    (path,) = node.glob("detour-cache-*/*.chains.json")
    return path


def uncached(workspace: Workspace, node: Path) -> Status:
    """Return the status without any cache."""
    for path in node.glob("detour-cache-*/*"):
        path.unlink()
    return status_of(workspace)


def add_event(workspace: Workspace) -> None:
    end(start(workspace, PREPARE, 2, job="9"), elapsed_s=30.0)


def add_accounts(workspace: Workspace) -> None:
    with Journal.open(workspace, "accounts") as journal:
        run = JobAccounted(source="sacct", start_s=1.0, elapsed_s=900.0, gpus=8, stages=[PREPARE.id])
        journal.append(run, job="77")


def add_price(workspace: Workspace) -> None:
    price: PriceQuoted = {
        "kind": "pretrain",
        "gpus": 1,
        "cores": 1,
        "wall_s": [1.0, 2.0, 3.0],
        "gpu_hours": None,
        "source": "estimate",
        "stages": [TRAIN.id],
    }
    with Journal.open(workspace, "prices") as journal:
        journal.append(ChainPriced(name="base", cluster="local", prices=[price]))


def submit_again(workspace: Workspace) -> None:
    with Journal.open(workspace, "submission") as journal:
        journal.append(ChainSubmitted(cluster="local"), chain="base")


def add_chain(workspace: Workspace) -> None:
    workspace.chain("twin").mkdir()
    plan = {"chain": "twin", "stages": [PREPARE.to_json()]}
    (workspace.chain("twin") / "plan.json").write_text(json.dumps(plan))


def move_site(workspace: Workspace) -> None:
    path = workspace.chain("base") / "plan.json"
    plan = json.loads(path.read_text())
    plan["site"]["pue"]["value"] = 1.9
    path.write_text(json.dumps(plan))


def plan_another_chain_of_the_site(workspace: Workspace) -> None:
    workspace.chain("other").mkdir()
    plan = json.loads((workspace.chain("base") / "plan.json").read_text())
    plan["site"]["pue"]["value"] = 1.9
    (workspace.chain("other") / "plan.json").write_text(json.dumps(plan | {"stages": [], "planned_s": 1.0}))


def share_gpu(workspace: Workspace) -> None:
    """Record energy of the training's GPU as another stage's sampler saw it at the same time."""
    journal = Journal.open(workspace, "other")
    journal.append(reading("GPU-1", BEGAN_S), stage="pretrain-other", job="8", attempt=1)
    journal.close()


CHANGES: dict[str, Callable[[Workspace], object]] = {
    "an event of a stage": add_event,
    "accounts of a job": add_accounts,
    "a price": add_price,
    "another submission": submit_again,
    "a chain that shares a stage": add_chain,
    "another site": move_site,
    "another plan of the site": plan_another_chain_of_the_site,
    "a GPU that was shared": share_gpu,
    "an output that is gone": lambda workspace: workspace.manifest(PREPARE.id).unlink(),
    "a shorter journal": lambda workspace: os.truncate(next(workspace.ledger.glob("*/*.jsonl")), 10),
    "a journal less": lambda workspace: next(workspace.ledger.glob("*/*.jsonl")).unlink(),
}


def test_while_nothing_changes_no_stage_is_read_again(
    workspace: Workspace, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = stages_looked_at(monkeypatch)
    again = status_of(workspace)
    assert noted == []
    assert again.chains[0].is_done
    assert again == uncached(workspace, node)
    assert noted == [stage.id for stage in STAGES]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_status_equals_that_without_a_cache(workspace: Workspace, node: Path, change: str) -> None:
    before = status_of(workspace)
    CHANGES[change](workspace)
    after = status_of(workspace)
    assert after != before
    assert after == uncached(workspace, node)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'[1,"/elsewhere",null,[]]\n', b"{}\n[[1,2,3],false,[]]"])
def test_a_damaged_or_foreign_cache_is_ignored(workspace: Workspace, node: Path, content: bytes) -> None:
    before = status_of(workspace)
    cache_file(node).write_bytes(content)
    assert status_of(workspace) == before


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_truncated_cache_is_ignored(workspace: Workspace, node: Path, share: float) -> None:
    before, kept = status_of(workspace), cache_file(node)
    os.truncate(kept, int(kept.stat().st_size * share))
    assert status_of(workspace) == before


def test_another_state_of_the_ledger_or_other_code_invalidates_the_cache(
    workspace: Workspace, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = stages_looked_at(monkeypatch)
    monkeypatch.setattr(cache, "code_version", lambda: "edited")
    status_of(workspace)
    assert len(noted) == len(STAGES)
    kept = cache_file(node).read_bytes()
    monkeypatch.setattr(views, "WORTH_KEEPING", 1)
    uncached(workspace, node)
    cache_file(node).write_bytes(kept)
    status_of(workspace)
    assert len(noted) == 3 * len(STAGES)


def test_a_chain_whose_hours_may_still_change_is_not_cached(tmp_path: Path, node: Path) -> None:
    made = make_workspace(tmp_path, stages=(PREPARE,))
    start(made, PREPARE)
    mark_done(made, PREPARE)
    status_of(made)
    assert not list(node.glob("detour-cache-*/*.chains.json"))


def test_it_works_without_disk_space_or_a_private_folder(workspace: Workspace, node: Path) -> None:
    before = status_of(workspace)
    cache_file(node).parent.chmod(0o777)
    assert status_of(workspace) == before
    cache_file(node).parent.chmod(0o700)
    unfinished = cache_file(node).with_name(f"{cache_file(node).name}.1")
    cache_file(node).replace(unfinished)
    assert status_of(workspace) == before
