"""A real disk that is full at any instant: one message, nothing lost, and work continues when there is space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import detour
from detour.config.loading import load_cluster
from detour.errors import DetourError
from detour.jobs.harness import run_stage
from detour.jobs.rank import read_rank
from detour.launch.endings import ending
from detour.ledger.process import user_name
from detour.ledger.workspace import Workspace
from detour.orchestration import submit as submit_module
from detour.orchestration.chain_files import write_chains
from detour.orchestration.order import order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import Submitted, send
from detour.scheduler.commands import Slurm
from tests.scheduler.fake_slurm import FakeSlurm
from tests.support.chains import small
from tests.support.small_disk import PAGE_BYTES, SmallDisk, mounted

JOBS = 9
"""Jobs of a chain with one evaluation; each phase of training is two segments."""
RECIPE, *OVERRIDES = small(more=["benchmark.seeds=[1]"])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", size_mib=96) as small_disk:
        yield small_disk


def submit(workspace: Workspace) -> Submitted:
    planned = detour.plan(Path(RECIPE), *OVERRIDES)
    order = order_for(workspace, planned, load_cluster("jean-zay"), JobOptions())
    return send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)


def needed_bytes(disk: SmallDisk) -> int:
    """Return the size of what a submission writes."""
    before = disk.room_bytes
    submit(Workspace(disk.folder / "measured"))
    return before - disk.room_bytes


def test_a_submission_stopped_by_a_full_disk_is_completed_by_the_next(
    disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_module, "Slurm", lambda **_: Slurm(FakeSlurm(user=user_name())))
    needed = needed_bytes(disk)
    coarse = range(0, needed, needed // 8)
    fine = range(needed - 40 * PAGE_BYTES, needed, 4 * PAGE_BYTES)  # journals, stage files and scripts come last
    for number, room in enumerate((*coarse, *fine)):
        fake, workspace = FakeSlurm(user=user_name()), Workspace(disk.folder / f"w{number}")
        monkeypatch.setattr(submit_module, "Slurm", lambda fake=fake, **_: Slurm(fake))
        disk.leave(room)
        try:
            submit(workspace)
        except (OSError, DetourError) as error:
            ended = ending(error)
            assert (ended.exit_code, "disk" in ended.message) == (2, True), (room, ended)
        disk.free()
        submit(workspace)
        live = fake.live()
        assert len({job.name.rpartition(":")[0] for job in live}) == len(live) == len(fake.jobs) - _cancelled(fake), (
            room
        )
        assert not any(job.held for job in live), room


def _cancelled(fake: FakeSlurm) -> int:
    return sum(not job.is_live for job in fake.jobs.values())


def test_every_kind_of_stage_waits_for_space_and_finishes(disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Space comes in small parts, so that journal, checkpoint, output and manifest each meet a full disk."""
    workspace, waits = Workspace(disk.folder / "w"), Counter[str]()
    (plan,) = detour.plan(Path(RECIPE), *OVERRIDES).plans
    workspace.create()
    write_chains(workspace, [plan], load_cluster("local"))
    torch.set_num_threads(1)

    def make_some_room(_: float) -> None:
        waits[stage.id] += 1
        disk.leave(8 * PAGE_BYTES * 8 ** waits[stage.id])

    monkeypatch.setattr("detour.disk.sleep", make_some_room)
    for stage in plan.stages:
        disk.leave(0)
        assert run_stage(workspace, stage.id, read_rank({}), executor=None, wall_limit_s=None) == 0, stage.label
        disk.free()
    assert set(waits) == {stage.id for stage in plan.stages}
    assert waits.total() > 1.5 * len(plan.stages)
