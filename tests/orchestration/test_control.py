"""Cancel, hold and release on a fake Slurm: an order is done when the queue shows it; repeating it does the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import detour
from detour.budgets.book import Book
from detour.config.loading import load_cluster
from detour.errors import SchedulerUnavailable, UserError
from detour.launch.text.control import controlled_lines
from detour.ledger.claims import claim
from detour.ledger.executor_ids import process_executor
from detour.ledger.process import user_name
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from detour.orchestration import cluster_orders, control
from detour.orchestration import submit as submit_module
from detour.orchestration.control import Controlled
from detour.orchestration.order import PlanGroup, make_order, order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import send
from detour.planning.build import Planner
from detour.planning.files import Target, plan_file, write_plan
from detour.planning.plan import Plan
from detour.scheduler.answers import CommandResult
from detour.scheduler.commands import Slurm
from detour.scheduler.submission_script import tasks_in
from tests.monitoring.workspaces import mark_done, start
from tests.scheduler.fake_slurm import FakeSlurm, Fuse, Killed
from tests.support.chains import small
from tests.support.recipes import make_recipe
from tests.support.small_disk import SmallDisk, mounted
from tests.support.stages import assumed_file

CHAIN = "quickstart"
RECIPE, *OVERRIDES = small(CHAIN)
PLANNED = detour.plan(Path(RECIPE), *OVERRIDES)
(PLAN,) = PLANNED.plans


def silent(_: str) -> None:
    """Report no wait for another submission."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    slurm = FakeSlurm(user=user_name())
    for module in (submit_module, cluster_orders):
        monkeypatch.setattr(module, "Slurm", lambda **_: Slurm(slurm))
    for room in ("control", "withdrawing"):
        monkeypatch.setattr(f"detour.scheduler.{room}.LATE_S", 0.0)
    return slurm


@pytest.fixture
def workspace(tmp_path: Path, fake: FakeSlurm) -> Workspace:  # noqa: ARG001
    """A workspace with the quickstart in the queue."""
    made = Workspace(tmp_path / "workspace")
    submit(made)
    return made


def submit(workspace: Workspace) -> None:
    order = order_for(workspace, PLANNED, load_cluster("jean-zay"), JobOptions())
    send(workspace, order, on_wait=silent, finish_interrupted=lambda: False)


def cancel(workspace: Workspace) -> Controlled:
    return control.cancel(workspace, [CHAIN], on_wait=silent)


def reserved(workspace: Workspace) -> set[str]:
    """Return the stages that still hold a share of the budgets."""
    return {stage for made in Book(LedgerView(workspace)).reservations for stage in made.amounts.keys() - made.released}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk", size_mib=24, inodes=2000) as small_disk:
        yield small_disk


@pytest.mark.parametrize("fill", [lambda disk: disk.leave(0), SmallDisk.leave_no_files])
def test_jobs_can_be_cancelled_on_a_full_disk_and_it_is_recorded_later(
    disk: SmallDisk, fake: FakeSlurm, fill: Callable[[SmallDisk], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    workspace = Workspace(disk.folder / "w")
    submit(workspace)
    fill(disk)
    cancel(workspace).require_done()
    assert fake.live() == []
    disk.free()
    submit(workspace)
    assert len({job.name.rpartition(":")[0] for job in fake.live()}) == len(fake.live()) == len(fake.jobs) / 2
    assert fake.live()


def test_jobs_held_and_released_on_a_full_disk_stay_so(
    disk: SmallDisk, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    workspace = Workspace(disk.folder / "w")
    submit(workspace)
    disk.leave(0)
    control.hold(workspace, [CHAIN], on_wait=silent).require_done()
    assert all(job.held for job in fake.live())
    disk.free()
    submit(workspace)
    assert all(job.held for job in fake.live())
    disk.leave(0)
    control.release(workspace, [CHAIN], on_wait=silent).require_done()
    assert not any(job.held for job in fake.live())


def statuses(workspace: Workspace) -> dict[str, str]:
    (chain,) = Monitor(workspace).look().chains
    return {row.id: row.status for row in chain.stages}


def test_cancel_empties_the_queue_and_frees_the_reservation(workspace: Workspace, fake: FakeSlurm) -> None:
    assert reserved(workspace)
    cancel(workspace).require_done()
    assert (fake.live(), reserved(workspace)) == ([], set())


def test_a_scancel_without_effect_is_repeated_and_then_reported(workspace: Workspace, fake: FakeSlurm) -> None:
    fake.order_faults = ["deaf"] * 2
    reached = cancel(workspace)
    assert reached.affected.ids == ()
    assert len(reached.affected.left) == len(fake.live())
    with pytest.raises(SchedulerUnavailable, match=rf"not cancelled, by the queue: .*`detour cancel -w \S+ {CHAIN}`"):
        reached.require_done()
    assert reserved(workspace)
    cancel(workspace).require_done()
    assert (fake.live(), reserved(workspace)) == ([], set())


def test_a_single_scancel_without_effect_is_compensated(workspace: Workspace, fake: FakeSlurm) -> None:
    fake.order_faults = ["deaf"]
    cancel(workspace).require_done()
    assert fake.live() == []


def test_after_the_loss_of_the_ledger_each_job_is_adopted_for_its_own_stage(workspace: Workspace) -> None:
    """A training has two segments, so there are more jobs than stages; the evaluations are tasks of an array."""

    def jobs() -> dict[str, set[str]]:
        return {stage: known.jobs for stage, known in LedgerView(workspace).state.stages.items()}

    sent = jobs()
    assert sorted(map(len, sent.values())) == [*[1] * (len(sent) - 2), 2, 2]
    shutil.rmtree(workspace.ledger)
    workspace.ledger.mkdir()
    assert set(control.adopt(workspace, on_wait=silent).affected.ids) == {job for of in sent.values() for job in of}
    assert jobs() == sent
    assert control.adopt(workspace, on_wait=silent).affected.ids == ()


def test_adopt_leaves_out_only_the_chain_whose_plan_is_damaged(workspace: Workspace) -> None:
    shutil.copytree(workspace.chain(CHAIN), workspace.chain("damaged"))
    plan_file(workspace, "damaged").write_text("{")
    shutil.rmtree(workspace.ledger)
    workspace.ledger.mkdir()
    done = control.adopt(workspace, on_wait=silent)
    assert len(done.affected.stages) == len(PLAN.stages)
    assert "damaged/plan.json" in done.warnings[0]


@pytest.mark.parametrize("verb", ["hold", "release"])
def test_an_order_that_the_queue_does_not_reflect_is_reported(workspace: Workspace, fake: FakeSlurm, verb: str) -> None:
    if verb == "release":
        control.hold(workspace, [CHAIN], on_wait=silent).require_done()
    fake.order_faults = ["deaf"] * 2
    reached = getattr(control, verb)(workspace, [CHAIN], on_wait=silent)
    with pytest.raises(SchedulerUnavailable, match=rf"`detour {verb} -w \S+ {CHAIN}`"):
        reached.require_done()
    getattr(control, verb)(workspace, [CHAIN], on_wait=silent).require_done()
    assert {job.held for job in fake.live()} == {verb == "hold"}


def test_after_scancel_by_hand_cancel_records_the_jobs_that_left_the_queue(
    workspace: Workspace, fake: FakeSlurm
) -> None:
    for job in fake.jobs.values():
        job.state = "CANCELLED by 1000"
    cancel(workspace).require_done()
    assert reserved(workspace) == set()
    assert set(statuses(workspace).values()) == {"cancelled"}
    submit(workspace)
    assert reserved(workspace) == {stage.id for stage in PLAN.stages}


@pytest.mark.parametrize("instant", range(5))
@pytest.mark.parametrize("after", [False, True])
def test_a_killed_cancel_run_again_completes_everything(
    workspace: Workspace, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, instant: int, after: bool
) -> None:
    fuse = Fuse(instant, after)
    guarded = Slurm(lambda command, timeout_s: fuse.guard(fake, command, timeout_s))
    monkeypatch.setattr(cluster_orders, "Slurm", lambda **_: guarded)
    try:
        cancel(workspace)
    except Killed:
        fuse.left = None
        cancel(workspace).require_done()
    assert (fake.live(), reserved(workspace)) == ([], set())


def test_a_cancelled_running_stage_is_shown_so_at_once_and_its_time_stops(
    workspace: Workspace, fake: FakeSlurm
) -> None:
    first = PLAN.stages[0]
    start(workspace, first, job="1")
    assert statuses(workspace)[first.id] == "running"
    fake.jobs[1].state = "RUNNING"
    cancel(workspace).require_done()
    assert statuses(workspace)[first.id] == "cancelled"
    looks = [Monitor(workspace).look(now_s=now_s).chains[0].elapsed_s for now_s in (2e9, 3e9)]
    assert looks[0] == looks[1]


def test_a_submission_whose_jobs_stay_held_keeps_its_reservation_and_says_so(tmp_path: Path, fake: FakeSlurm) -> None:
    fake.order_faults = ["deaf"] * 2
    workspace = Workspace(tmp_path / "workspace")
    order = order_for(workspace, PLANNED, load_cluster("jean-zay"), JobOptions())
    sent = send(workspace, order, on_wait=silent, finish_interrupted=lambda: False)
    with pytest.raises(SchedulerUnavailable, match="still held"):
        sent.require_done()
    assert reserved(workspace) == {stage.id for stage in PLAN.stages}
    submit(workspace)
    assert not any(job.held for job in fake.live())


SWEEP = "wide"


def sweep_of(chains: int) -> list[Plan]:
    """Return chains that share corpus and first phase, as in a sweep over the tokens of the second phase."""

    planner = Planner(assumed_file)
    changes = ({"name": f"{SWEEP}-{number:02d}", "phases.mlm.tokens": 1024 * (number + 1)} for number in range(chains))
    return [planner.plan(make_recipe(change)) for change in changes]


@pytest.fixture
def wide(tmp_path: Path, fake: FakeSlurm) -> tuple[Workspace, list[Plan]]:  # noqa: ARG001
    """A workspace with a sweep of 50 chains in the queue."""
    workspace, plans = Workspace(tmp_path / "workspace"), sweep_of(50)
    order = make_order(workspace, PlanGroup(SWEEP, plans, SWEEP), load_cluster("slurm-local"), JobOptions())
    send(workspace, replace(order, plans=tuple(plans)), on_wait=silent, finish_interrupted=lambda: False)
    return workspace, plans


def units(fake: FakeSlurm) -> set[str]:
    return {job.tag.unit for job in fake.live() if job.tag}


def calls(fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the verbs of Slurm that are called from now on."""
    made: list[str] = []

    def run(command: Sequence[str], timeout_s: float) -> CommandResult:
        made.append(command[0])
        return fake(command, timeout_s)

    monkeypatch.setattr(cluster_orders, "Slurm", lambda **_: Slurm(run))
    return made


def test_fifty_chains_are_cancelled_in_one_order_and_four_calls(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _ = wide
    assert sum(len(job.tasks or [0]) for job in fake.live()) > 300
    made = calls(fake, monkeypatch)
    control.cancel(workspace, [SWEEP], on_wait=silent).require_done()
    assert fake.live() == []
    assert reserved(workspace) == set()
    assert len(made) <= 4


def test_stages_needed_by_the_rest_of_a_sweep_stay_until_its_last_chain_is_cancelled(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm
) -> None:
    workspace, plans = wide
    shared = {stage.id for stage in plans[0].stages} & {stage.id for stage in plans[1].stages}
    reached = control.cancel(workspace, [f"{SWEEP}-0*"], on_wait=silent)
    reached.require_done()
    assert set(reached.kept) == shared
    assert shared <= units(fake)
    control.cancel(workspace, [f"{SWEEP}-[1-4]*"], on_wait=silent).require_done()
    assert fake.live() == [], "chains cancelled before need nothing any more"


def test_a_single_stage_that_many_chains_need_is_not_cancelled(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm
) -> None:
    workspace, _ = wide
    before = len(fake.live())
    with pytest.raises(UserError, match="is needed by 50 chains"):
        control.cancel(workspace, ["prepare"], on_wait=silent)
    assert len(fake.live()) == before
    control.cancel(workspace, ["prepare"], shared=True, on_wait=silent).require_done()
    assert fake.live() == []


def test_a_stage_of_one_chain_is_cancelled_with_only_its_dependents(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm
) -> None:
    workspace, plans = wide
    reached = control.cancel(workspace, [f"{SWEEP}-07/pretrain mlm"], on_wait=silent)
    shared = {stage.id for stage in plans[0].stages}
    own = {stage.id for stage in plans[7].stages} - shared
    assert set(reached.labels) == own
    assert {tuple(set(range(50)) - job.tasks) for job in fake.live() if job.tasks and len(job.tasks) == 49} == {(7,)}


def test_tasks_of_an_array_cancelled_before_are_not_cancelled_again(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm
) -> None:
    workspace, plans = wide
    name = f"{SWEEP}-07"
    own = {stage.id for stage in plans[7].stages} - {stage.id for stage in plans[0].stages}
    assert set(control.cancel(workspace, [name], on_wait=silent).affected.stages) == own
    for again in (control.cancel, control.hold, control.release):
        reached = again(workspace, [name], on_wait=silent)
        assert not own.intersection(reached.affected.stages)
        assert not any("_7" in job for job in reached.affected.ids)
    everything = control.cancel(workspace, [f"{SWEEP}-*"], on_wait=silent).affected
    assert {stage.id for plan in plans for stage in plan.stages} - own == set(everything.stages)
    assert fake.live() == []


@pytest.mark.parametrize("verb", ["hold", "release"])
def test_a_pattern_is_held_and_released_in_one_call(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    workspace, _ = wide
    made = calls(fake, monkeypatch)
    getattr(control, verb)(workspace, [f"{SWEEP}-*"], on_wait=silent).require_done()
    assert {job.held for job in fake.live()} == {verb == "hold"}
    assert made.count("scontrol") == 1


def test_a_stage_named_with_its_chain_is_cancelled_in_no_other_chain(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm
) -> None:
    workspace, plans = wide
    before = len(fake.live())
    with pytest.raises(UserError, match="is needed by 50 chains"):
        control.cancel(workspace, [f"{SWEEP}-03", "prepare"], on_wait=silent)
    assert len(fake.live()) == before
    shared = {stage.id for stage in plans[0].stages} & {stage.id for stage in plans[1].stages}
    reached = control.cancel(workspace, [f"{SWEEP}-03", f"{SWEEP}-07/pretrain mlm"], on_wait=silent)
    assert set(reached.kept) == shared
    assert shared <= units(fake)


def test_a_finished_stage_is_not_listed_as_kept_for_other_chains(wide: tuple[Workspace, list[Plan]]) -> None:
    workspace, plans = wide
    prepare, *others = (stage for stage in plans[0].stages if stage in plans[1].stages)
    mark_done(workspace, prepare)
    reached = control.cancel(workspace, [f"{SWEEP}-03"], on_wait=silent)
    assert set(reached.kept) == {stage.id for stage in others}


def test_a_stage_of_every_chain_of_a_sweep_is_cancelled_with_its_dependents(
    wide: tuple[Workspace, list[Plan]], fake: FakeSlurm
) -> None:
    workspace, _ = wide
    control.cancel(workspace, [SWEEP], "promote clm", on_wait=silent).require_done()
    assert {unit.partition("-")[0] for unit in units(fake)} == {"prepare", "pretrain"}


PAIR = [
    plan
    for tokens in ("8k", "12k")
    for plan in detour.plan(Path(RECIPE), *OVERRIDES, f"name={tokens}", f"phases.mlm.tokens={tokens}").plans
]


@pytest.mark.parametrize("again", [PAIR[:1], PAIR], ids=["the chain", "the sweep"])
def test_tasks_cancelled_out_of_arrays_can_be_submitted_again(
    tmp_path: Path, fake: FakeSlurm, again: list[Plan]
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    send_all(workspace, PAIR)
    assert all(len(job.tasks or ()) > 1 for job in fake.live() if "pretrain-x2" in job.name), "as arrays"
    before = {job.id: job.dependency for job in fake.live()}
    control.cancel(workspace, [PAIR[0].chain], on_wait=silent).require_done()
    send_all(workspace, again)
    own, others = ({stage.id for stage in plan.stages} for plan in PAIR)
    added = [job for job in fake.live() if job.id not in before]
    scripts = [Path(job.script).read_text() for job in added]
    assert {stage for stage in own | others if any(stage in script for script in scripts)} == own - others
    assert len({job.name.rpartition(":")[0] for job in fake.live()}) == len(fake.live())
    assert {job.id: job.dependency for job in fake.live() if job.id in before} == before
    assert not any("_0" in job.dependency for job in added), "no job waits for a cancelled task"


def send_all(workspace: Workspace, plans: list[Plan]) -> None:
    order = make_order(workspace, PlanGroup("sweep", plans, "sweep"), load_cluster("jean-zay"), JobOptions())
    send(workspace, replace(order, plans=tuple(plans)), on_wait=silent, finish_interrupted=lambda: False)


def test_a_chain_held_after_its_submission_was_killed_stays_held_when_that_is_completed(
    tmp_path: Path, fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its jobs are held anyway until then, as are those of the other chain in the same arrays."""
    workspace, fuse = Workspace(tmp_path / "workspace"), Fuse(9)
    with monkeypatch.context() as killed:
        guarded = Slurm(lambda command, timeout_s: fuse.guard(fake, command, timeout_s))
        killed.setattr(submit_module, "Slurm", lambda **_: guarded)
        with pytest.raises(Killed):
            send_all(workspace, PAIR)
    first, second = ({stage.id for stage in plan.stages} for plan in PAIR)
    control.hold(workspace, [PAIR[0].chain], on_wait=silent).require_done()
    for _ in range(2):
        send_all(workspace, PAIR)
        assert held_stages(fake) == first
    control.release(workspace, [PAIR[0].chain], on_wait=silent).require_done()
    assert held_stages(fake) == set()
    assert first & second, "shared stages are held too"


def held_stages(fake: FakeSlurm) -> set[str]:
    tasks = ((job, tasks_in(Path(job.script).read_text()) or ()) for job in fake.live())
    return {stage for job, each in tasks for task, of in enumerate(each) if job.is_task_held(task) for stage in of}


@pytest.fixture(params=[Target("local"), Target("laptop", profile={"scheduler": "local"})], ids=["name", "profile"])
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Workspace:
    """A workspace of `detour run` on a machine without Slurm."""
    monkeypatch.setenv("PATH", str(tmp_path))
    made = Workspace(tmp_path / "local")
    write_plan(made, PLAN, request.param)
    return made


@pytest.mark.parametrize(
    ("verb", "outcome"),
    [
        ("cancel", "nothing cancelled: the ledger has no such job of this workspace"),
        ("hold", "without a job, held once they are sent: prepare, pretrain clm, promote clm, ... (9 stages)"),
        ("release", "nothing released: the ledger has no such job of this workspace"),
    ],
)
def test_what_was_never_sent_from_this_machine_is_not_looked_for_in_slurm(
    local: Workspace, verb: str, outcome: str
) -> None:
    reached = getattr(control, verb)(local, [CHAIN], on_wait=silent)
    reached.require_done()
    assert [*controlled_lines(reached)] == [outcome]


def test_a_stage_that_runs_without_slurm_is_not_called_cancelled(local: Workspace) -> None:
    stage = PLAN.stages[0]
    start(local, stage, job=process_executor("4711"))
    assert [*cancel(local).warnings] == []  # its process is gone
    assert statuses(local)[stage.id] == "cancelled"
    start(local, stage, 2, job=process_executor("4712"))
    with claim(local, stage.id, "attempt 2"):
        assert [*cancel(local).warnings] == ["not cancelled: prepare runs in `detour run`, which Ctrl-C stops"]
        assert statuses(local)[stage.id] == "running"
