"""Orders on real Slurms that do not obey them: plugins that rewrite, wrappers that lie, jobs held again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from detour.errors import SchedulerUnavailable
from detour.jobs.segments import cancel_later_segments
from detour.ledger.journal import command_journal
from detour.ledger.workspace import Workspace
from detour.orchestration.slurm import WorkspaceLedger
from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.control import Control
from detour.scheduler.requests import JobRequest
from detour.scheduler.sent_jobs import fold
from detour.scheduler.snapshot import Snapshot, add_accounting, take_snapshot
from detour.scheduler.states import JobState
from tests.ledger.payloads import WRITTEN_BEFORE
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version
from tests.slurm.jobs import CPU, client, small_chain
from tests.slurm.test_outages import gated
from tests.slurm.test_submission import fresh, live_ids, slots
from tests.support.past import Past

Starter = Callable[[ClusterSettings], SlurmCluster]
REWRITES = """\
function slurm_job_submit(job, partitions, uid)
    job.name, job.comment = "site_" .. uid, "billed to " .. uid
    return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid)
    return slurm.SUCCESS
end
"""
LATER = replace(CPU, options=("--begin=now+1hour",))


def records(cluster: SlurmCluster) -> Snapshot:
    return take_snapshot(client(cluster), ["root", "nobody"])


def behind(cluster: SlurmCluster, folder: Path, **scripts: str) -> Slurm:
    """Clients with wrappers in front of them: `$real` is the folder of the real ones."""
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\nreal={cluster.home}/bin\n{text}\n")
        (folder / name).chmod(0o755)
    environment: Mapping[str, str] = {**cluster.environment, "PATH": f"{folder}:{cluster.environment['PATH']}"}
    return Slurm(SubprocessRunner(environment))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_site_that_rewrites_names_and_comments_gets_a_chain_once_and_completes_it(
    own_slurm: Starter, version: Version
) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, job_submit=REWRITES))
    workspace, ledger, requests = fresh(cluster), MemoryLedger(), small_chain()
    first = workspace.submitter(client(cluster), ledger).submit(requests)
    again = workspace.submitter(client(cluster), ledger).submit(requests)
    assert set(first.jobs) == slots(requests)
    assert again.jobs.items() <= first.jobs.items()
    assert "rewrites names and comments" in first.remarks[0]
    wait_until(lambda: workspace.is_done("summarize-0"), "the chain to end", 120)
    assert all(len(workspace.runs(stage)) == 1 for request in requests for stage in request.stages)
    assert not any(record.is_held for record in records(cluster).queue or ())


def test_with_rewritten_names_a_permanent_failure_cancels_later_segments(own_slurm: Starter) -> None:
    cluster = own_slurm(ClusterSettings("24.11", gpu_nodes=1, job_submit=REWRITES))
    workspace, ledger = fresh(cluster), MemoryLedger()
    training = replace(small_chain(LATER)[1], after=())
    first, second = workspace.submitter(client(cluster), ledger).submit([training]).jobs.values()
    environment = {"SLURM_JOB_NAME": "site_0", "SLURM_JOB_ID": first}
    doomed = cancel_later_segments(environment, client(cluster), lambda: fold(ledger.events(), workspace.name))
    assert doomed == [second]
    assert [record.ids.id for record in records(cluster).queue or ()] == [first]


def test_a_wrapper_that_prints_a_wrong_id_breaks_no_chain(slurm: SlurmCluster, tmp_path: Path) -> None:
    lying = behind(slurm, tmp_path, sbatch='id=$("$real/sbatch" "$@") && echo $((id + 7000))')
    workspace, requests = fresh(slurm), small_chain()
    submission = workspace.submitter(lying, MemoryLedger()).submit(requests)
    assert live_ids(slurm, workspace).keys() <= slots(requests)
    assert all(int(job) < 7000 for job in submission.jobs.values())
    wait_until(lambda: workspace.is_done("summarize-0"), "the chain to end", 120)


def test_jobs_that_a_wrapper_of_scancel_leaves_in_the_queue_are_named(slurm: SlurmCluster, tmp_path: Path) -> None:
    deaf = behind(slurm, tmp_path, scancel="exit 0")
    workspace, ledger, requests = fresh(slurm), MemoryLedger(), small_chain(LATER)
    submission = workspace.submitter(deaf, ledger).submit(requests)
    stages = [stage for request in requests for stage in request.stages]
    reached = Control(deaf, ledger, workspace.name, [workspace.user]).cancel(stages, "test")
    assert (set(reached.left), reached.ids) == (set(submission.jobs.values()), ())
    reached = Control(client(slurm), ledger, workspace.name, [workspace.user]).cancel(stages, "test")
    assert (reached.left, set(reached.ids)) == ({}, set(submission.jobs.values()))
    assert live_ids(slurm, workspace) == {}


def test_some_tasks_of_a_pending_array_can_be_held_and_released(slurm: SlurmCluster) -> None:
    """squeue folds them into one line with the others, of one priority, unless it is asked for each task."""
    workspace, ledger = fresh(slurm), MemoryLedger()
    stages = [f"evaluate-{number}" for number in range(4)]
    array = JobRequest(tuple((stage,) for stage in stages), LATER, 60)
    (job,) = workspace.submitter(client(slurm), ledger).submit([array]).jobs.values()

    def control() -> Control:
        return Control(client(slurm), ledger, workspace.name, [workspace.user])

    def held() -> set[str]:
        queue = take_snapshot(client(slurm), [workspace.user]).queue or ()
        return {f"{record.ids.id}_{record.ids.index}" for record in queue if record.ids.id == job and record.is_held}

    reached = control().hold(stages[1:3])
    assert (set(reached.ids), reached.left) == ({f"{job}_1", f"{job}_2"}, {})
    assert held() == {f"{job}_1", f"{job}_2"}
    assert (control().release(stages[1:2]).ids, held()) == ((f"{job}_1",), {f"{job}_2"})
    again = workspace.submitter(client(slurm), ledger).submit([array])
    assert (again.remarks, held()) == ((f"held by `detour hold` until `detour release`: {job}",), {f"{job}_2"})
    assert (control().release(stages[2:3]).ids, held()) == ((f"{job}_2",), set())
    control().cancel(stages, "test")


def test_while_only_squeue_is_down_a_chain_is_cancelled_by_what_sacct_shows(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    broken = behind(slurm, tmp_path, squeue="echo 'squeue: error: Too many RPCs' >&2; exit 1")
    workspace, ledger, requests = fresh(slurm), MemoryLedger(), small_chain(LATER)
    workspace.submitter(client(slurm), ledger).submit(requests)
    stages = [stage for request in requests for stage in request.stages]

    def is_cancelled() -> bool:
        return not Control(broken, ledger, workspace.name, [workspace.user]).cancel(stages, "test").left

    wait_until(is_cancelled, "sacct to show all jobs, and then their end", 30)
    assert live_ids(slurm, workspace) == {}


def resume_nodes(cluster: SlurmCluster) -> None:
    """A prolog that fails drains its node, and slurmctld may learn of it late."""
    for node in cluster.settings.node_names:
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_job_whose_prolog_failed_is_reported_and_released(
    own_slurm: Starter, version: Version, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    prolog = tmp_path / "prolog"
    prolog.write_text(f"#!/bin/sh\n[ ! -e {broken} ]\n")
    prolog.chmod(0o755)
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, extra_configuration=f"Prolog={prolog}"))
    workspace, ledger, requests = fresh(cluster), MemoryLedger(), small_chain()[:1]
    requests = [*requests, replace(requests[0], tasks=(("export-0",),), unit="", after=requests[0].stages)]
    workspace.submitter(client(cluster), ledger).submit(requests)

    def taken_back() -> bool:
        resume_nodes(cluster)
        return any(record.by_slurm for record in records(cluster).queue or ())

    wait_until(taken_back, "Slurm to hold the job", every_s=0.5)
    broken.unlink()
    resume_nodes(cluster)
    again = workspace.submitter(client(cluster), ledger).submit(requests)
    assert any("launch failed requeued held" in remark for remark in again.remarks)
    wait_until(lambda: workspace.is_done("export-0"), "the chain to end")


def test_jobs_that_slurm_requeued_in_any_way_are_reported_and_released(own_slurm: Starter, tmp_path: Path) -> None:
    """Requeued by an order, for their exit code, and after too many failed launches."""
    prolog = tmp_path / "prolog"
    prolog.write_text(f'#!/bin/sh\n[ ! -e "{tmp_path}/fails-$SLURM_JOB_ID" ]\n')
    prolog.chmod(0o755)
    scheduling = "SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1,nohold_on_prolog_fail"
    lines = f"Prolog={prolog}\nRequeueExitHold=99\n{scheduling}"
    cluster = own_slurm(ClusterSettings("24.11", gpu_nodes=1, extra_configuration=lines))
    for job in range(1, 9):
        (tmp_path / f"fails-{job}").touch()
    workspace, ledger = gated(cluster, small_chain()), MemoryLedger()
    stages = ("export-0", "export-1", "export-2")
    requests = [replace(small_chain()[0], tasks=((stage,),), unit="") for stage in stages]
    workspace.plan("export-1", 99)
    (workspace.root / "seconds" / "export-2").write_text("20")
    jobs = workspace.submitter(client(cluster), ledger).submit(requests).jobs
    number = {slot.unit: job for slot, job in jobs.items()}
    for stage in stages[1:]:
        (tmp_path / f"fails-{number[stage]}").unlink()

    def taken_back() -> bool:
        resume_nodes(cluster)
        found = {record.ids.id: record for record in records(cluster).queue or ()}
        if found[number["export-2"]].state is JobState.RUNNING:
            cluster.run("scontrol", "requeuehold", number["export-2"])
        return all(found[job].by_slurm for job in jobs.values())

    wait_until(taken_back, "Slurm to hold all three", 120, every_s=0.5)
    for path in tmp_path.glob("fails-*"):
        path.unlink()
    (workspace.root / "seconds" / "export-2").unlink()
    again = workspace.submitter(client(cluster), ledger).submit(requests)
    assert set(again.remarks) == {
        f"job {number[stage]} was held by Slurm ({why}), and is released"
        for stage, why in zip(
            stages,
            ("launch failure limit exceeded requeued held", "SPECIAL_EXIT", "job requeued in held state"),
            strict=True,
        )
    }

    def have_ended() -> bool:
        resume_nodes(cluster)
        return all(map(workspace.is_done, stages))

    wait_until(have_ended, "the jobs to end", 90, every_s=0.5)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_full_queue_is_reported_in_slurms_words_within_seconds(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, max_array_size=4, max_job_count=5))
    workspace = fresh(cluster)
    requests = [
        replace(small_chain(LATER)[0], tasks=((f"prepare-{number}",),), unit="", after=()) for number in range(8)
    ]
    began_s = time.monotonic()
    submission = workspace.submitter(client(cluster), MemoryLedger()).submit(requests)
    assert 0 < len(submission.jobs) < len(requests)
    assert len(submission.deferred) == len(requests) - len(submission.jobs)
    assert time.monotonic() - began_s < 30
    other = fresh(cluster)
    with pytest.raises(SchedulerUnavailable, match=r"nothing was submitted: .*Slurm"):
        other.submitter(client(cluster), MemoryLedger()).submit(requests[:2])


def test_an_array_cancelled_while_pending_is_cancelled_in_the_accounts(slurm: SlurmCluster) -> None:
    workspace, ledger = fresh(slurm), MemoryLedger()
    array = small_chain(LATER)[3]
    (job,) = workspace.submitter(client(slurm), ledger).submit([replace(array, after=())]).jobs.values()
    client(slurm).cancel([job])
    tasks = [f"{job}_{index}" for index in range(3)]

    def states() -> set[str]:
        queued = take_snapshot(client(slurm), ["root"])
        snapshot = add_accounting(queued, client(slurm), ["root"], tasks, since_s=1.0)
        found = [snapshot.job(workspace.name, task) for task in tasks]
        return {record.state.value for record in found if record is not None}

    wait_until(lambda: states() == {"CANCELLED"}, "the accounts to tell", 30)


def test_foreign_records_in_the_ledger_stop_no_order(slurm: SlurmCluster, tmp_path: Path) -> None:
    written = Workspace(tmp_path / "workspace")
    written.create()
    past = Past(written)
    for kind, data in WRITTEN_BEFORE.items():
        past.add(kind, 1.7e9, {name: {"since": "a newer version"} for name in data})
        past.add(f"{kind}.since", 1.7e9, data)
    past.write()
    workspace, requests = fresh(slurm), small_chain(LATER)
    stages = [stage for request in requests for stage in request.stages]
    with command_journal(written) as journal:
        ledger = WorkspaceLedger(written, journal)
        sent = workspace.submitter(client(slurm), ledger).submit(requests)
        again = workspace.submitter(client(slurm), ledger).submit(requests)
        reached = Control(client(slurm), ledger, workspace.name, [workspace.user]).cancel(stages, "test")
    assert set(sent.jobs) == slots(requests)
    assert again.jobs == sent.jobs
    assert set(reached.ids) == set(sent.jobs.values())
    assert live_ids(slurm, workspace) == {}
