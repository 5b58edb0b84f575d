"""An order and its outcome on a fake Slurm: a refused order leaves no visible trace."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import detour
from detour.checkpoints.provenance import SNAPSHOT
from detour.config.loading import load_cluster
from detour.errors import UserError, Withdrawn
from detour.housekeeping.finding import Kind
from detour.housekeeping.removing import remove
from detour.launch.text.submission import submitted_lines
from detour.ledger.claims import claim
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration import cluster_orders, control
from detour.orchestration import submit as submit_module
from detour.orchestration.cleaning import removable
from detour.orchestration.code_snapshot import take_code_snapshot
from detour.orchestration.order import order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.slurm import SUBMISSION_CLAIM
from detour.orchestration.submit import Submitted, send
from detour.planning.files import chain_names, read_plan
from detour.scheduler.answers import CommandResult, SubmissionRefused
from detour.scheduler.commands import Slurm
from tests.scheduler.fake_slurm import FakeSlurm, Killed
from tests.support.chains import small
from tests.support.small_disk import mounted, mounted_again

RECIPE, *OVERRIDES = small()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def submit(
    workspace: Workspace, options: JobOptions | None = None, on_wait: Callable[[str], None] = lambda _: None
) -> Submitted:
    planned = detour.plan(Path(RECIPE), *OVERRIDES)
    order = order_for(workspace, planned, load_cluster("jean-zay"), options or JobOptions())
    return send(workspace, order, on_wait=on_wait, finish_interrupted=lambda: False)


def test_a_submission_creates_its_chain(workspace: Workspace, fake: FakeSlurm) -> None:
    submit(workspace)
    assert chain_names(workspace) == ["quickstart"]
    assert fake.live()


def test_a_submission_that_waited_for_gc_has_its_code(workspace: Workspace, fake: FakeSlurm) -> None:
    """The code of an earlier version is submitted again, while gc removes what is not the newest."""
    workspace.create()
    code = take_code_snapshot(workspace).folder
    os.utime(code, (1e9, 1e9))
    (workspace.root / "code" / "newer").mkdir()
    gc = claim(workspace, SUBMISSION_CLAIM, "detour gc")

    def end_gc(_: str) -> None:
        (found,) = (one for one in removable(workspace) if one.kind is Kind.CODE)
        remove(workspace, found)
        assert not code.exists()
        gc.release()

    submit(workspace, on_wait=end_gc)
    assert fake.live()
    assert (code / SNAPSHOT).exists()


def test_a_submission_that_waited_for_gc_does_not_rely_on_what_gc_removed(
    workspace: Workspace, fake: FakeSlurm
) -> None:
    """The corpus of a chain that is no longer planned is needed by a new one."""
    workspace.create()
    (corpus,) = (stage for stage in detour.plan(Path(RECIPE), *OVERRIDES).shared.stages if stage.startswith("prepare"))
    workspace.output(corpus).mkdir(parents=True)
    workspace.manifest(corpus).write_text("{}")
    gc = claim(workspace, SUBMISSION_CLAIM, "detour gc")

    def end_gc(_: str) -> None:
        (found,) = removable(workspace)
        remove(workspace, found)
        gc.release()

    with pytest.raises(UserError, match=f"{corpus}: is no longer done"):
        submit(workspace, on_wait=end_gc)
    assert (fake.live(), chain_names(workspace)) == ([], [])
    submit(workspace)
    assert corpus in {job.tag.unit for job in fake.live() if job.tag}


def test_a_finished_chain_can_get_another_name(workspace: Workspace) -> None:
    planned = detour.plan(Path(RECIPE), *OVERRIDES, "name=renamed")
    for stage in planned.shared.stages.values():
        workspace.output(stage.id).mkdir(parents=True)
        workspace.manifest(stage.id).write_text("{}")
    order = order_for(workspace, planned, load_cluster("jean-zay"), JobOptions())
    assert order.requests == ()
    send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)
    assert chain_names(workspace) == ["renamed"]


@pytest.fixture
def refusing(fake: FakeSlurm) -> Slurm:
    """The same Slurm, whose sbatch accepts nothing."""

    def refuse(command: Sequence[str], timeout_s: float) -> CommandResult:
        if command[0] == "sbatch":
            return CommandResult(1, "", "sbatch: error: Invalid account\n")
        return fake(command, timeout_s)

    return Slurm(refuse)


def test_a_submission_refused_by_slurm_leaves_no_chain(
    workspace: Workspace, refusing: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit_module, "Slurm", lambda **_: refusing)
    with pytest.raises(SubmissionRefused, match="Invalid account"):
        submit(workspace)
    assert chain_names(workspace) == []
    assert list((workspace.root / "models").iterdir()) == []


def test_a_submission_refused_by_slurm_leaves_an_existing_chain(
    workspace: Workspace, fake: FakeSlurm, refusing: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(workspace)
    for job in fake.jobs.values():
        job.state = "CANCELLED by 0"
    monkeypatch.setattr(submit_module, "Slurm", lambda **_: refusing)
    with pytest.raises(SubmissionRefused):
        submit(workspace)
    assert chain_names(workspace) == ["quickstart"]


def test_a_submission_withdrawn_after_ctrl_c_leaves_no_chain(
    workspace: Workspace, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupt(command: Sequence[str], timeout_s: float) -> CommandResult:
        nonlocal calls
        calls += command[0] == "sbatch"
        if calls == 2:
            calls += 1
            raise KeyboardInterrupt
        return fake(command, timeout_s)

    monkeypatch.setattr(submit_module, "Slurm", lambda **_: Slurm(interrupt))
    with pytest.raises(Withdrawn):
        submit(workspace)
    assert chain_names(workspace) == []
    assert fake.live() == []


@pytest.mark.usefixtures("fake")
def test_a_refused_submission_leaves_the_chain_that_is_in_flight(
    workspace: Workspace, refusing: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(workspace)
    before, model = read_plan(workspace, "quickstart"), (workspace.root / "models" / "quickstart").readlink()

    monkeypatch.setattr(submit_module, "Slurm", lambda **_: refusing)
    changed = order_for(
        workspace,
        detour.plan(Path(RECIPE), *OVERRIDES, "seeds.training=5"),
        load_cluster("slurm-local"),
        JobOptions(),
    )
    with pytest.raises(SubmissionRefused):
        send(workspace, changed, on_wait=lambda _: None, finish_interrupted=lambda: False)
    assert read_plan(workspace, "quickstart") == before
    assert (workspace.root / "models" / "quickstart").readlink() == model


def test_a_refused_retry_leaves_the_failure(
    workspace: Workspace, fake: FakeSlurm, refusing: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(workspace)
    for job in fake.jobs.values():
        job.state = "CANCELLED by 0"
    planned = detour.plan(Path(RECIPE), *OVERRIDES)
    marker = workspace.failure(planned.plans[0].stages[2].id)
    marker.write_text('{"reason": "gate"}')
    monkeypatch.setattr(submit_module, "Slurm", lambda **_: refusing)
    order = order_for(workspace, planned, load_cluster("jean-zay"), JobOptions(), retry=True)
    assert [failure.reason for failure in order.failures] == ["gate"]
    with pytest.raises(SubmissionRefused):
        send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)
    assert marker.read_text() == '{"reason": "gate"}'


@pytest.mark.usefixtures("fake")
def test_the_jobs_of_an_earlier_plan_of_the_chain_are_named(workspace: Workspace) -> None:
    sent = submit(workspace)
    planned = detour.plan(Path(RECIPE), *OVERRIDES, "phases.mlm.tokens=16k")
    order = order_for(workspace, planned, load_cluster("jean-zay"), JobOptions())
    ids = [job for slot, job in sent.submission.jobs.items() if not slot.unit.startswith("prepare")][3:]
    assert order.warnings == (
        "quickstart was planned with other settings before, and jobs of that plan, which no chain needs any more, may "
        f"go on: `scancel {' '.join(ids)}` stops them",
    )
    assert order_for(workspace, detour.plan(Path(RECIPE), *OVERRIDES), order.cluster, JobOptions()).warnings == ()


def submit_seeds(workspace: Workspace, seeds: Sequence[int]) -> Submitted:
    sweep = workspace.root.parent / "sweep.yaml"
    sweep.write_text(f"name: seeds\nrecipe: {RECIPE}\nseeds: {list(seeds)}\n")
    order = order_for(workspace, detour.plan(sweep, *OVERRIDES), load_cluster("jean-zay"), JobOptions())
    return send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)


@pytest.mark.usefixtures("fake")
def test_a_sweep_extended_in_flight_records_and_shows_the_jobs_of_its_new_chains(workspace: Workspace) -> None:
    submit_seeds(workspace, [1, 2])
    sent = submit_seeds(workspace, [1, 2, 3, 4])
    stages = LedgerView(workspace).state.stages
    planned = {stage.id for plan in sent.order.plans for stage in plan.stages}
    assert {stage for stage in planned if not (stage in stages and stages[stage].jobs)} == set()
    lines = [" ".join(line.split()) for line in submitted_lines(sent, workspace, 200)]
    assert [line.partition(" job ")[0] for line in lines if " job " in line] == [
        "prepare",
        "pretrain clm x2",
        "promote clm x2",
        "pretrain mlm x2",
        "promote mlm x2",
        "export x2",
        "evaluate icd10-chapters x2",
        "summarize x2",
    ]


@pytest.mark.parametrize("is_released", [True, False])
def test_the_jobs_of_a_submission_killed_at_its_release_are_known_to_readers(
    workspace: Workspace, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, is_released: bool
) -> None:
    def killed(command: Sequence[str], timeout_s: float) -> CommandResult:
        if command[:2] != ("scontrol", "release"):
            return fake(command, timeout_s)
        if is_released:
            fake(command, timeout_s)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(submit_module, "Slurm", lambda **_: Slurm(killed))
        with pytest.raises(Killed):
            submit_seeds(workspace, [1, 2])
    stages = LedgerView(workspace).state.stages
    sent = submit_seeds(workspace, [1, 2])
    planned = {stage.id for plan in sent.order.plans for stage in plan.stages}
    assert {stage for stage in planned if not (stage in stages and stages[stage].jobs)} == set()
    assert not any(job.held for job in fake.live())


@pytest.mark.usefixtures("fake")
def test_of_an_array_only_the_tasks_that_no_chain_needs_are_named(workspace: Workspace) -> None:
    submit_seeds(workspace, [1, 2])
    sweep = workspace.root.parent / "one.yaml"
    sweep.write_text(f"name: seeds\nrecipe: {RECIPE}\nseeds: [2]\n")
    planned = detour.plan(sweep, *OVERRIDES, "benchmark.tasks.0.epochs=2")
    (warning,) = order_for(workspace, planned, load_cluster("jean-zay"), JobOptions()).warnings
    ids = warning.partition("scancel ")[2].partition("`")[0].split()
    assert len(ids) == 3
    assert all(one.endswith("_1") for one in ids), "two seeds of the task and the summary of the second chain"


@pytest.mark.usefixtures("fake")
def test_chains_that_another_sweep_takes_over_are_named(workspace: Workspace) -> None:
    sweep = workspace.root.parent / "sweep.yaml"
    warnings = []
    for name, seeds in (("first", [1, 2]), ("first", [1, 2]), ("second", [2, 3])):
        sweep.write_text(f"name: {name}\nnames: 'tiny-{{seed}}'\nrecipe: {RECIPE}\nseeds: {seeds}\n")
        order = order_for(workspace, detour.plan(sweep, *OVERRIDES), load_cluster("jean-zay"), JobOptions())
        send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)
        warnings.append(order.warnings)
    assert warnings == [
        (),
        (),
        ("tiny-2 was part of the sweep first, and now belongs to second: `names` with {sweep} keeps the sweeps apart",),
    ]


def test_a_chain_of_another_workspace_is_not_adopted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no workspace of detour"):
        control.adopt(Workspace(tmp_path / "nonexistent"), on_wait=lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_a_later_submission_states_the_time_limit_of_pending_jobs(workspace: Workspace, fake: FakeSlurm) -> None:
    submit(workspace, JobOptions(wall_s=300))
    again = submit(workspace, JobOptions(wall_s=480))
    (line,) = [line for line in submitted_lines(again, workspace, 100) if line.startswith("pretrain clm")]
    assert line.endswith("time limit 5m00s as submitted before, not 8m00s")
    assert len(fake.live()) == len(fake.jobs)


def test_a_seed_added_to_a_chain_in_flight_is_listed_and_recorded(workspace: Workspace, fake: FakeSlurm) -> None:
    """The seeds before it share an array, in which it has no place."""
    submit(workspace)
    planned = detour.plan(Path(RECIPE), *OVERRIDES, "benchmark.seeds=[1,2,3]")
    order = order_for(workspace, planned, load_cluster("jean-zay"), JobOptions())
    again = send(workspace, order, on_wait=lambda _: None, finish_interrupted=lambda: False)
    added = str(max(job.id for job in fake.live()) - 1)
    (line,) = [line for line in submitted_lines(again, workspace, 100) if line.startswith("evaluate")]
    assert line == f"evaluate icd10-chapters          job {added}, time limit 10m00s"
    (third,) = [stage.id for stage in planned.plans[0].stages if stage.label == "evaluate icd10-chapters seed 3"]
    assert set(LedgerView(workspace).state.stages[third].submitted_s) == {added}


def test_a_time_limit_shorter_than_the_grace_period_is_refused_with_the_arithmetic(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"a time limit of 1m00s less the 2m00s for saving .* leaves no time to work"):
        submit(workspace, JobOptions(wall_s=60))
    assert not workspace.root.exists()


def test_a_link_in_place_of_the_folder_of_scripts_is_refused_before_anything_is_sent(
    workspace: Workspace, fake: FakeSlurm, tmp_path: Path
) -> None:
    order = order_for(workspace, detour.plan(Path(RECIPE), *OVERRIDES), load_cluster("jean-zay"), JobOptions())
    workspace.create()
    (tmp_path / "a victim's").mkdir()
    (workspace.root / "submissions").mkdir()
    (workspace.root / "submissions" / order.requests[-1].unit).symlink_to(tmp_path / "a victim's")
    with pytest.raises(UserError, match="a link instead of the workspace's own folder"):
        submit(workspace)
    assert fake.jobs == {}
    assert list((tmp_path / "a victim's").iterdir()) == []


def test_a_moved_workspace_finds_its_jobs_and_sends_none_twice(workspace: Workspace, fake: FakeSlurm) -> None:
    submit(workspace)
    sent = dict(fake.jobs)
    moved = Workspace(workspace.root.rename(workspace.root.with_name("moved")))
    assert submit(moved).submission.jobs
    assert fake.jobs == sent


def test_a_second_mount_finds_the_jobs_of_the_first(tmp_path: Path, fake: FakeSlurm) -> None:
    with mounted(tmp_path / "disk", size_mib=16) as disk, mounted_again(disk, tmp_path / "again"):
        submit(Workspace(tmp_path / "disk" / "w"))
        sent = dict(fake.jobs)
        submit(Workspace(tmp_path / "again" / "w"))
    assert fake.jobs == sent


def test_a_copy_submits_its_own_jobs_and_cancels_none_of_the_original(
    workspace: Workspace, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_orders, "Slurm", lambda **_: Slurm(fake))
    submit(workspace)
    originals = set(fake.jobs)
    copy = Workspace(workspace.root.with_name("copy"))
    shutil.copytree(workspace.root, copy.root, symlinks=True)
    submit(copy)
    assert len(fake.jobs) == 2 * len(originals)
    control.cancel(copy, ["quickstart"], on_wait=lambda _: None)
    assert {number for number, job in fake.jobs.items() if job.is_live} == originals
