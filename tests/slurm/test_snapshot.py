"""One reading of the real Slurm compared with Slurm's own output, also when half of it is down."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from detour.scheduler.commands import Slurm
from detour.scheduler.dependency import After
from detour.scheduler.snapshot import Snapshot, add_accounting, take_snapshot
from detour.scheduler.states import JobState, Standing
from detour.scheduler.tags import Tag
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version
from tests.slurm.jobs import client, sbatch, states, wait_for_states

Starter = Callable[[ClusterSettings], SlurmCluster]


def tagged(cluster: SlurmCluster, unit: str, shell: str, *options: str) -> tuple[Tag, str]:
    tag = Tag("snapshots", unit, 1, "s")
    return tag, sbatch(cluster, shell, f"--job-name={tag}", f"--comment={tag}", *options)


def look(slurm: Slurm, *ended: str) -> Snapshot:
    users = ["root", "nobody"]
    snapshot = take_snapshot(slurm, users)
    return add_accounting(snapshot, slurm, users, ended, since_s=1.0) if ended else snapshot


def test_a_snapshot_agrees_with_the_accounts_on_every_job(slurm: SlurmCluster) -> None:
    array, array_id = tagged(slurm, "array", "exit $((SLURM_ARRAY_TASK_ID % 2 * 7))", "--array=0-3")
    ended, ended_id = tagged(slurm, "cancelled", "sleep 600")
    wait_until(lambda: look(client(slurm)).state(ended) is JobState.RUNNING, "the job to run")
    slurm.run("scancel", ended_id)
    tasks = {f"{array_id}_{index}": "FAILED" if index % 2 else "COMPLETED" for index in range(4)}
    wait_for_states(slurm, {**tasks, ended_id: "CANCELLED"})
    # 22.05 has a job's name, and so its tag, slightly later than its end
    wait_until(lambda: len(look(client(slurm), array_id, ended_id).ran(array)) == 4, "the records to be whole")
    wait_until(lambda: not look(client(slurm)).live(ended), "the cancelled job to leave its node")
    snapshot = look(client(slurm), array_id, ended_id)
    assert snapshot.state(ended) is JobState.CANCELLED
    for index, state in enumerate(tasks.values()):
        assert snapshot.state(array, index) is JobState[state]
    assert {record.exit_code for record in snapshot.ran(array)} == {0, 7}
    assert all(record.submitted_s and record.ended_s for record in snapshot.ran(array))


def test_pending_tasks_of_a_throttled_array_are_distinguished(slurm: SlurmCluster) -> None:
    tag, job = tagged(slurm, "throttled", "sleep 600", "--array=1,3-5%1")
    wait_until(lambda: look(client(slurm)).state(tag, 1) is JobState.RUNNING, "the first task to run")
    snapshot = look(client(slurm))
    assert [snapshot.state(tag, index) for index in (1, 2, 3, 5)] == [
        JobState.RUNNING,
        JobState.UNKNOWN,
        JobState.PENDING,
        JobState.PENDING,
    ]
    assert {record.ids.id for record in snapshot.live(tag)} == {job}
    assert sorted(record.ids.index or 0 for record in snapshot.live(tag)) == [1, 3, 4, 5]
    client(slurm).cancel([job])


def test_a_held_job_is_found_by_its_tag_at_once_and_released(slurm: SlurmCluster) -> None:
    tag, job = tagged(slurm, "held", "true", "--hold")
    snapshot = look(client(slurm))
    assert [(record.ids.id, record.is_held) for record in snapshot.live(tag)] == [(job, True)]
    assert client(slurm).release([job]).returncode == 0
    wait_for_states(slurm, {job: "COMPLETED"})


def test_an_unknown_job_is_unknown_and_cancelling_it_no_error(slurm: SlurmCluster) -> None:
    assert look(client(slurm), "999999").state(Tag("snapshots", "nothing", 1, "s")) is JobState.UNKNOWN
    client(slurm).cancel(["999999"])
    assert client(slurm).release(["999999"]).returncode != 0


def test_a_dependency_can_be_changed_while_a_job_is_pending(slurm: SlurmCluster) -> None:
    first, second = (sbatch(slurm, "true", "--hold") for _ in range(2))
    waiting = sbatch(slurm, "true", dependency=After("afterok", first))
    assert client(slurm).change_dependency(waiting, f"afterok:{second}").returncode == 0
    assert f"afterok:{second}" in slurm.run("squeue", "-h", "-j", waiting, "-o", "%E").stdout
    client(slurm).cancel([waiting, first, second])


@pytest.mark.parametrize("version", VERSIONS)
def test_without_slurmdbd_the_queue_is_known_and_ends_are_not(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1))
    cluster.stop_daemon("slurmdbd")
    short, short_id = tagged(cluster, "short", "true")
    long, _ = tagged(cluster, "long", "sleep 600")
    wait_until(lambda: not look(client(cluster)).live(short), "the short job to leave the queue")
    wait_until(lambda: look(client(cluster)).state(long) is JobState.RUNNING, "the long job to run")
    snapshot = look(client(cluster), short_id)
    assert snapshot.state(short).standing is Standing.UNKNOWN
    assert snapshot.accounting is None
    assert "sacct failed" in snapshot.missing[0]
    cluster.start_daemon("slurmdbd")
    wait_until(lambda: states(cluster, [short_id]) == {short_id: "COMPLETED"}, "the record to arrive", 300)
    assert look(client(cluster), short_id).state(short) is JobState.COMPLETED


@pytest.mark.parametrize("version", VERSIONS)
def test_without_slurmctld_only_ended_jobs_are_known(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, message_timeout_s=5))
    short, short_id = tagged(cluster, "short", "true")
    held, held_id = tagged(cluster, "held", "true", "--hold")
    wait_until(lambda: look(client(cluster), short_id).state(short) is JobState.COMPLETED, "the record to be whole")
    cluster.stop_daemon("slurmctld")
    snapshot = look(client(cluster), short_id, held_id)
    assert snapshot.queue is None
    assert "squeue failed" in snapshot.missing[0]
    assert snapshot.state(short) is JobState.COMPLETED
    assert snapshot.state(held).standing in (Standing.UNKNOWN, Standing.WAITING)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_site_without_accounting_says_what_is_missing(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, accounting=False))
    tag = Tag("snapshots", "plain", 1, "s")
    cluster.run("sbatch", "--hold", "-o", "/dev/null", f"--job-name={tag}", "--wrap", "true")
    snapshot = look(client(cluster), "1")
    assert snapshot.state(tag) is JobState.PENDING
    assert snapshot.accounting is None
    assert snapshot.missing[0].startswith("there is no accounting here")
