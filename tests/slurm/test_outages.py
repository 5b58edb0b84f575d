"""Scripted chains on a real Slurm that breaks down: nothing is called failed, nothing starts early, all complete."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.requests import JobRequest
from detour.scheduler.sent_jobs import fold
from detour.scheduler.snapshot import add_accounting, take_snapshot
from detour.scheduler.states import Standing
from detour.scheduler.tags import Tag
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version, current_user
from tests.slurm.jobs import CPU, FAKE_PYTHON, FakeWorkspace, client, small_chain, states

Starter = Callable[[ClusterSettings], SlurmCluster]
GATE = """\
for stage; do
    [ -e "$workspace/done/$stage" ] && continue
    for input in $(cat "$workspace/needs/$stage" 2>/dev/null); do
        [ -e "$workspace/done/$input" ] || { echo "$stage" >>"$workspace/runs/turned-away"; exit 87; }
    done
"""
SACCT_SAYS_NO = "#!/bin/sh\necho 'sacct: error: Access/permission denied' >&2\nexit 1\n"


def gated(cluster: SlurmCluster, requests: Sequence[JobRequest]) -> FakeWorkspace:
    """A workspace whose stages start only if their inputs are done, like the real ones."""
    workspace = FakeWorkspace(cluster.home / "tmp" / f"w{secrets.token_hex(4)}", current_user())
    slow = 'sleep "$(cat "$workspace/seconds/$stage" 2>/dev/null || echo 0)"; touch'
    workspace.python.write_text(FAKE_PYTHON.replace("for stage; do\n", GATE).replace("touch", slow))
    for name in ("needs", "seconds"):
        (workspace.root / name).mkdir()
    for request in requests:
        for stage in request.stages:
            (workspace.root / "needs" / stage).write_text(" ".join(request.after))
    return workspace


def without_sacct(cluster: SlurmCluster, folder: Path) -> Slurm:
    """As seen by a user who may not use sacct."""
    folder.mkdir()
    (folder / "sacct").write_text(SACCT_SAYS_NO)
    (folder / "sacct").chmod(0o755)
    return Slurm(SubprocessRunner({**cluster.environment, "PATH": f"{folder}:{cluster.environment['PATH']}"}))


def called_failed(slurm: Slurm, tags: Sequence[Tag], ids: Sequence[str]) -> list[Tag]:
    """Jobs that one reading of Slurm, as it is now, shows as failed."""
    users = [current_user()]
    snapshot = add_accounting(take_snapshot(slurm, users), slurm, users, ids, since_s=1.0)
    return [tag for tag in tags if snapshot.state(tag).standing is Standing.FAILED]


def purged(cluster: SlurmCluster, job: str) -> bool:
    return cluster.run("scontrol", "show", "job", job, check=False).returncode != 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_chain_outlives_its_purged_parents_and_both_daemons(
    own_slurm: Starter, version: Version, tmp_path: Path
) -> None:
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1, min_job_age_s=2, message_timeout_s=5))
    requests = [*small_chain(), JobRequest((("export-0",),), CPU, wall_s=600, after=("pretrain-0",))]
    workspace, ledger = gated(cluster, requests), MemoryLedger()
    workspace.plan("pretrain-0", 85)
    (workspace.root / "seconds" / "pretrain-0").write_text("20")
    cluster.stop_daemon("slurmdbd")
    jobs = workspace.submitter(client(cluster), ledger).submit(requests).jobs
    job = {(slot.unit.partition("-")[0], slot.segment): job_id for slot, job_id in jobs.items()}
    tags = list(fold(ledger.events(), workspace.name))
    assert len(tags) == len(jobs)
    denied = without_sacct(cluster, tmp_path / "denied")

    wait_until(lambda: len(workspace.runs("pretrain-0")) == 2, "the second segment", 120)
    wait_until(lambda: purged(cluster, job["pretrain", 1]), "the first segment to be forgotten", 120)
    cluster.stop_daemon("slurmctld")
    wait_until(lambda: workspace.is_done("pretrain-0"), "the second segment to end unseen", 120)
    assert called_failed(denied, tags, list(jobs.values())) == []
    cluster.start_daemon("slurmctld")
    wait_until(lambda: all(map(workspace.is_done, ("summarize-0", "export-0"))), "the chain to end", 240)
    assert called_failed(denied, tags, list(jobs.values())) == []
    assert workspace.runs("turned-away") == []
    assert {stage: len(workspace.runs(stage)) for request in requests for stage in request.stages} == {
        stage: 2 if stage == "pretrain-0" else 1 for request in requests for stage in request.stages
    }
    cluster.start_daemon("slurmdbd")
    ended = [job[kind] for kind in (("pretrain", 2), ("promote", 1), ("export", 1), ("summarize", 1))]
    wait_until(lambda: states(cluster, ended) == dict.fromkeys(ended, "COMPLETED"), "the accounts to catch up", 120)


@pytest.mark.parametrize(
    ("version", "delay_s", "prepare_s"),
    [("22.05", 0.0, 0), ("24.11", 0.0, 0), ("24.11", 0.5, 0), ("24.11", 2.0, 0), ("24.11", 1.0, 6)],
)
def test_a_controller_killed_after_a_submission_loses_no_job(
    own_slurm: Starter, version: Version, delay_s: float, prepare_s: int
) -> None:
    """It forgets most jobs, that any was released, and that some are running or have run, as their nodes know.

    It also gives their ids out again.
    """
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1))
    requests = small_chain()
    workspace, ledger = gated(cluster, requests), MemoryLedger()
    (workspace.root / "seconds" / "prepare-0").write_text(str(prepare_s))
    before = workspace.submitter(client(cluster), ledger).submit(requests).jobs
    time.sleep(delay_s)
    cluster.stop_daemon("slurmctld", signal.SIGKILL)
    cluster.start_daemon("slurmctld")
    tags = list(fold(ledger.events(), workspace.name))
    assert len(tags) == len(before)
    assert called_failed(client(cluster), tags, []) == []
    workspace.submitter(client(cluster), ledger).submit(requests)
    wait_until(lambda: workspace.is_done("summarize-0"), "the chain to end", 240)
    assert workspace.runs("turned-away") == []
    runs = [workspace.runs(stage) for request in requests for stage in request.stages]
    assert all(len(ids) == len(set(ids)) for ids in runs), "interrupted stages run again in another job"
    assert sum(map(len, runs)) <= len(runs) + 1, "only interrupted stages run again"
    assert "drain" not in cluster.run("sinfo", "-h", "-o", "%T").stdout
