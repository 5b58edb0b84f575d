"""The submission transaction on the real Slurm: whole chains, killed at every instant, on its bad days."""

from __future__ import annotations

import itertools
import secrets
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from detour.errors import SchedulerUnavailable
from detour.scheduler.answers import CommandResult, SubmissionRefused
from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.requests import JobRequest
from detour.scheduler.snapshot import take_snapshot
from detour.scheduler.tags import Slot
from tests.scheduler.fake_slurm import Fuse, Killed, MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster, as_user
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version, current_user
from tests.slurm.jobs import CPU, GPU, FakeWorkspace, client, small_chain, wait_for_states

Starter = Callable[[ClusterSettings], SlurmCluster]


def fresh(cluster: SlurmCluster, user: str | None = None) -> FakeWorkspace:
    """A separate workspace, and so separate tags, on a shared cluster."""
    return FakeWorkspace(cluster.home / "tmp" / f"w{secrets.token_hex(4)}", user or current_user())


def live_ids(cluster: SlurmCluster, workspace: FakeWorkspace) -> dict[Slot, list[str]]:
    """Every job of the workspace in the queue, by slot."""
    snapshot = take_snapshot(client(cluster), [workspace.user])
    found: dict[Slot, set[str]] = {}
    for record in snapshot.tagged(workspace.name):
        assert record.tag is not None
        found.setdefault(record.tag.slot, set()).add(record.ids.id)
    return {slot: sorted(ids) for slot, ids in found.items()}


def slots(requests: Sequence[JobRequest]) -> set[Slot]:
    return {slot for request in requests for slot in request.slots}


def test_a_chain_is_submitted_in_one_call_a_job_and_four_more(slurm: SlurmCluster) -> None:
    workspace, slurm_client, requests = fresh(slurm), client(slurm), small_chain()
    workspace.plan("pretrain-0", 85)
    submission = workspace.submitter(slurm_client, MemoryLedger()).submit(requests)
    assert slurm_client.calls == {"sbatch": 6, "squeue": 3, "scontrol": 1}
    assert set(submission.jobs) == slots(requests)
    assert submission.remarks == ()
    by_unit = {(slot.unit, slot.segment): job for slot, job in submission.jobs.items()}
    array = by_unit[(requests[3].unit, 1)]
    ended = {
        by_unit[("prepare-0", 1)]: "COMPLETED",
        by_unit[("pretrain-0", 1)]: "FAILED",
        by_unit[("pretrain-0", 2)]: "COMPLETED",
        by_unit[("promote-0", 1)]: "COMPLETED",
        by_unit[("summarize-0", 1)]: "COMPLETED",
        **{f"{array}_{index}": "COMPLETED" for index in range(3)},
    }
    wait_for_states(slurm, ended, timeout_s=300)
    assert [len(workspace.runs(f"evaluate-0-{number}")) for number in range(3)] == [1, 1, 1]


def test_a_submission_killed_at_any_instant_and_run_again_sends_every_job_once(slurm: SlurmCluster) -> None:
    for instant in range(60):
        fuse = Fuse(instant // 2, after=bool(instant % 2))
        workspace, ledger = fresh(slurm), MemoryLedger(fuse)
        run = SubprocessRunner(slurm.environment)
        killed = workspace.submitter(Slurm(lambda *call: fuse.guard(run, *call)), ledger)  # noqa: B023
        requests = small_chain(replace(CPU, options=("--begin=now+1hour",)))
        try:
            killed.submit(requests)
        except Killed:
            fuse.left = None
            submission = workspace.submitter(client(slurm), ledger).submit(requests)
        else:
            break
        found = live_ids(slurm, workspace)
        assert {slot: [job] for slot, job in submission.jobs.items()} == found
        assert set(found) == slots(requests)
        client(slurm).cancel([job for ids in found.values() for job in ids][::-1])
    assert instant > 40


def test_an_sbatch_that_prints_nothing_is_looked_up_and_reported(slurm: SlurmCluster, tmp_path: Path) -> None:
    real = slurm.home / "bin" / "sbatch"
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\n"{real}" "$@" >/dev/null\n')
    (tmp_path / "sbatch").chmod(0o755)
    environment = {**slurm.environment, "PATH": f"{tmp_path}:{slurm.environment['PATH']}"}
    workspace = fresh(slurm)
    requests = small_chain()[:2]
    submission = workspace.submitter(Slurm(SubprocessRunner(environment)), MemoryLedger()).submit(requests)
    assert set(submission.jobs) == slots(requests)
    assert len(submission.remarks) == 3
    assert all("printed no job id" in remark for remark in submission.remarks)
    wait_until(lambda: workspace.is_done("pretrain-0"), "the chain to end")


def test_a_refusal_withdraws_everything_and_quotes_slurm(slurm: SlurmCluster) -> None:
    workspace = fresh(slurm)
    good, bad, *_ = small_chain()
    bad = replace(bad, resources=replace(bad.resources, qos="nonsense"))
    with pytest.raises(SubmissionRefused, match="Invalid qos"):
        workspace.submitter(client(slurm), MemoryLedger()).submit([good, bad])
    assert live_ids(slurm, workspace) == {}
    assert not workspace.runs("prepare-0")


def test_two_chains_share_jobs_in_flight(slurm: SlurmCluster) -> None:
    workspace, ledger = fresh(slurm), MemoryLedger()
    first = small_chain()
    shared, *rest = small_chain(name="1")
    second = [replace(shared, tasks=first[0].tasks, unit=""), replace(rest[0], after=("prepare-0",))]
    blocker = replace(first[0], tasks=(("prepare-9",),), unit="")
    workspace.plan("prepare-0", 0)
    one = workspace.submitter(client(slurm), ledger).submit([replace(first[0], after=("prepare-9",)), blocker])
    two = workspace.submitter(client(slurm), ledger).submit(second)
    assert Slot("pretrain-1") in two.jobs
    wait_until(lambda: workspace.is_done("pretrain-1"), "the second chain")
    assert workspace.runs("prepare-0") == [one.jobs[Slot("prepare-0")]]


@pytest.mark.parametrize("version", VERSIONS)
def test_beyond_the_submit_limit_a_chain_is_sent_in_waves(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version))
    workspace, ledger = fresh(cluster), MemoryLedger()
    requests = [request for number in range(5) for request in small_chain(GPU, f"{number}")[:3]]
    everything = {request.stages[0] for request in requests}
    waves = 0
    while left := [stage for stage in everything if not workspace.is_done(stage)]:
        assert waves < 6
        missing = [
            replace(request, after=tuple(stage for stage in request.after if not workspace.is_done(stage)))
            for request in requests
            if request.stages[0] in left
        ]
        submission = workspace.submitter(client(cluster), ledger).submit(missing)
        units = {slot.unit for slot in submission.jobs}
        waves += 1
        assert len(submission.jobs) <= 10
        wait_until(lambda: all(workspace.is_done(unit) for unit in units), "the wave to end", 90)  # noqa: B023
        wait_until(lambda: not live_ids(cluster, workspace), "the queue to drain")
    assert waves == 2
    assert all(len(workspace.runs(stage)) == 1 for stage in everything)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_job_accepted_and_lost_is_sent_again_once(own_slurm: Starter, version: Version) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1))
    workspace, ledger, requests = fresh(cluster), MemoryLedger(), small_chain()
    run = SubprocessRunner(cluster.environment)
    sent = itertools.count(1)

    def crash_after_the_third(command: Sequence[str], timeout_s: float) -> CommandResult:
        result = run(command, timeout_s)
        if command[0] == "sbatch" and next(sent) == 3:
            cluster.stop_daemon("slurmctld", signal.SIGKILL)
            cluster.start_daemon("slurmctld")
            stranger = cluster.run("sbatch", "--parsable", "-A", "abc@cpu", "-p", "cpu_p1", "--wrap", "sleep 600")
            assert stranger.returncode == 0
        return result

    submission = workspace.submitter(Slurm(crash_after_the_third), ledger).submit(requests)
    assert set(submission.jobs) == slots(requests)
    wait_until(lambda: workspace.is_done("summarize-0"), "the chain to end", 300)
    for request in requests:
        assert all(len(workspace.runs(stage)) == 1 for stage in request.stages)


@pytest.mark.parametrize("version", VERSIONS)
def test_while_slurmctld_is_down_nothing_is_sent_or_called_gone(own_slurm: Starter, version: Version) -> None:
    user = "nobody" if current_user() == "root" else current_user()
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, user=user, message_timeout_s=5))
    workspace, ledger, requests = fresh(cluster, user), MemoryLedger(), small_chain()
    run = SubprocessRunner(cluster.environment)
    slurm = Slurm(lambda command, timeout_s: run([*as_user(user), *command], timeout_s))
    cluster.stop_daemon("slurmctld")
    with pytest.raises(SchedulerUnavailable, match="run it again"):
        workspace.submitter(slurm, ledger).submit(requests)
    assert ledger.written == []
    cluster.start_daemon("slurmctld")
    workspace.submitter(slurm, ledger).submit(requests)
    wait_until(lambda: workspace.is_done("summarize-0"), "the chain to end", 300)
