"""Two real Slurm clusters of one site, reached from the login node of the first: both give out the same job ids."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import detour as api
from detour.accounting.attempts import usage_of
from detour.config.loading import load_cluster
from detour.ledger.events import JobAccepted, JobIntended, JobsCommitted
from detour.ledger.identity import establish, workspace_id
from detour.ledger.journal import Journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.orchestration import control
from detour.orchestration.accounts import record_accounts
from detour.orchestration.order import order_for
from detour.orchestration.requests import JobOptions
from detour.orchestration.submit import send
from detour.scheduler.tags import Tag
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, Version
from tests.support.chains import small

Starter = Callable[[ClusterSettings], SlurmCluster]
CHAINS = {"quickstart": None, "other": "far"}
"""Chain -> the Slurm cluster in its profile."""


def silent(_: str) -> None:
    """Report no wait for another submission."""


@pytest.fixture
def near(request: pytest.FixtureRequest, own_slurm: Starter, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The login node's cluster, beside which `far` runs."""
    version: Version = request.param
    cluster = own_slurm(ClusterSettings(version, gpu_nodes=1))
    own_slurm(ClusterSettings(version, gpu_nodes=1, name="far", beside=str(cluster.home)))
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    return cluster


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = Workspace(tmp_path / "workspace")
    made.create()
    establish(made.root)
    return made


def on(cluster: str | None) -> tuple[str, ...]:
    return () if cluster is None else (f"--clusters={cluster}",)


def queue(near: SlurmCluster, cluster: str | None) -> dict[str, str]:
    """Job -> why it is pending."""
    lines = near.run("squeue", *on(cluster), "--noheader", "--all", "--array", "--format=%i %r").stdout.splitlines()
    return dict(line.split() for line in lines if not line.startswith("CLUSTER"))


@pytest.mark.parametrize("near", VERSIONS[:1], indirect=True)
def test_orders_and_status_concern_each_job_on_its_own_cluster(near: SlurmCluster, workspace: Workspace) -> None:
    for chain, cluster in CHAINS.items():
        planned = api.plan(*small(), f"name={chain}", f"data.validation_tokens={2 + (cluster is not None)}k")
        profile = load_cluster("slurm-local").model_copy(
            update={"slurm_cluster": cluster, "header": ("--begin=now+1hour",)}
        )
        order = order_for(workspace, planned, profile, JobOptions(gpus=1))
        send(workspace, order, on_wait=silent, finish_interrupted=lambda: False).require_done()
    jobs = queue(near, None)
    assert queue(near, "far").keys() == jobs.keys() != set()
    control.hold(workspace, ["other"], on_wait=silent).require_done()
    assert set(queue(near, "far").values()) == {"JobHeldUser"}, "also if root asks"
    assert "JobHeldUser" not in queue(near, None).values()
    status = monitor(workspace).look()
    assert status.warnings == ()
    held = {chain.name: {row.state == "held" for row in chain.stages} for chain in status.chains}
    assert held == {"quickstart": {False}, "other": {True}}
    control.cancel(workspace, ["other"], on_wait=silent).require_done()
    assert queue(near, "far") == {}
    assert queue(near, None).keys() == jobs.keys()
    control.cancel(workspace, list(CHAINS), on_wait=silent).require_done()
    assert queue(near, None) == {}


@pytest.mark.parametrize("near", VERSIONS[1:], indirect=True)
def test_hours_of_both_clusters_are_accounted_for_to_the_second(near: SlurmCluster, workspace: Workspace) -> None:
    """The first job of each."""
    expected = {}
    for cluster, sleep_s in ((None, 1), ("far", 3)):
        stage = f"prepare-{cluster}"
        tag = Tag(workspace_id(workspace.root), stage, 1, "s1")
        where = (f"--job-name={tag}", "-A", "abc@cpu", "-p", "cpu_p1", "-o", "/dev/null")
        sent = near.run("sbatch", *on(cluster), "--parsable", *where, "--wrap", f"sleep {sleep_s}").stdout.strip()
        with Journal.open(workspace, f"command-{stage}") as journal:
            journal.append(JobIntended(tags=[str(tag)], tasks=[[stage]], dependency="", slurm_cluster=cluster or ""))
            journal.append(JobAccepted(tags=[str(tag)], job_id=sent.partition(";")[0]))
            journal.append(JobsCommitted(tags=[str(tag)]))
        expected[stage] = (cluster, "1")

    def elapsed_s(stage: str) -> str:
        cluster, job = expected[stage]
        shown = near.run("sacct", *on(cluster), "-nXP", "-j", job, "-o", "State,ElapsedRaw").stdout.strip()
        return shown.removeprefix("COMPLETED|")

    wait_until(lambda: all(elapsed_s(stage).isdecimal() for stage in expected), "both jobs to be accounted for", 30)
    view = LedgerView(workspace)
    assert record_accounts(view) == ()
    counted = {
        stage: [usage.allocated_s for run in known.runs if (usage := usage_of(stage, run, 2e9))]
        for stage, known in view.state.stages.items()
    }
    assert counted == {stage: [float(elapsed_s(stage))] for stage in expected}
