"""Hours of a chain that went wrong in every way, compared with `sacct --duplicates` on the real Slurm."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

import detour as api
from detour.accounting.attempts import usage_of
from detour.accounting.fates import Fates, fates_s
from detour.config.loading import load_cluster
from detour.ledger.events import JobAccepted, JobIntended, JobsCommitted
from detour.ledger.identity import establish, workspace_id
from detour.ledger.journal import Journal
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.accounts import record_accounts
from detour.orchestration.chain_files import write_chains
from detour.scheduler.tags import Tag
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.jobs import client
from tests.support.chains import detour, small

REPOSITORY = Path(__file__).parents[2]
GPUS = 2
ENDINGS = {
    "preempted": ("endless", "done"),
    "requeued": ("endless", "done"),
    "timed out": ("endless",),
    "failed": ("failed",),
    "done": ("done",),
}


class Chain:
    """A stage for each ending, in its own job on two GPUs of the first node; the jobs depend on nothing."""

    def __init__(self, cluster: SlurmCluster, workspace: Workspace) -> None:
        self.cluster, self.workspace = cluster, workspace
        workspace.create()
        establish(workspace.root)
        plan = api.plan(*small()).plans
        write_chains(workspace, plan, load_cluster("slurm-local"))
        self.stages = dict(zip(ENDINGS, (stage.id for stage in plan[0].stages), strict=False))
        self.jobs = {ending: self._submit(ending, stage) for ending, stage in self.stages.items()}

    def _submit(self, ending: str, stage: str) -> str:
        tag = Tag(workspace_id(self.workspace.root), stage, 1, "s1")
        python = [
            sys.executable,
            "-m",
            "tests.slurm.job_with_ending",
            str(self.workspace.root),
            stage,
            *ENDINGS[ending],
        ]
        where = ("-A", "abc@h100", "-p", "gpu_p6", "--qos", "qos_gpu_h100-be", f"--gres=gpu:{GPUS}", "--time=1")
        node = ("--nodelist=gpu1",) if ending == "preempted" else ("--exclude=gpu1",)
        job = self.cluster.run(
            *("sbatch", "--parsable", *where, *node, "--mem=100", f"--job-name={tag}", f"--comment={tag}"),
            *("-o", str(self.workspace.root / f"{ending}.log"), "--chdir", str(REPOSITORY)),
            *("--wrap", shlex.join(python)),
        ).stdout.strip()
        with Journal.open(self.workspace, "command-1") as journal:
            journal.append(JobIntended(tags=[str(tag)], tasks=[[stage]], dependency=""))
            journal.append(JobAccepted(tags=[str(tag)], job_id=job))
            journal.append(JobsCommitted(tags=[str(tag)]))
        return job

    def all_begun(self) -> bool:
        """By the journals, and by the accounts, which are slightly late."""
        stages = LedgerView(self.workspace).state.stages
        spoke = all(stage in stages and stages[stage].attempts for stage in self.stages.values())
        return spoke and Counter(row["State"] for row in self.accounts()).keys() <= {"RUNNING", "COMPLETED", "FAILED"}

    def disturb(self) -> None:
        asked = ("-A", "abc@h100", "-p", "gpu_p6", "--qos", "qos_gpu_h100-dev", "--gres=gpu:4", "--nodelist=gpu1")
        self.cluster.run("sbatch", *asked, "--time=1", "--mem=100", "-o", "/dev/null", "--wrap", "sleep 1")
        self.cluster.run("scontrol", "requeue", self.jobs["requeued"])
        ends = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 2))
        self.cluster.run("scontrol", "update", f"JobId={self.jobs['timed out']}", f"EndTime={ends}")

    def accounts(self) -> list[Mapping[str, str]]:
        columns = ("JobID", "State", "ElapsedRaw", "AllocTRES", "End")
        listed = self.cluster.run(
            *("sacct", "-nXPD", "-S", "now-1hour", "-j", ",".join(self.jobs.values()), "-o", ",".join(columns))
        ).stdout
        return [dict(zip(columns, line.split("|"), strict=True)) for line in listed.splitlines()]

    def ended(self) -> bool:
        rows = self.accounts()
        states = Counter(row["State"].split()[0] for row in rows)
        return len(rows) == 7 and not states.keys() & {"PENDING", "RUNNING", "COMPLETING"}


@pytest.fixture(scope="module")
def chain(slurm: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    chain = Chain(slurm, Workspace(tmp_path_factory.mktemp("accounts") / "workspace"))
    wait_until(chain.all_begun, "every job to begin", 60, 0.3)
    chain.disturb()
    wait_until(chain.ended, "every job to end", 150, 0.5)
    return chain


def test_allocated_hours_equal_those_of_sacct_to_the_second(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    view = LedgerView(chain.workspace)
    assert record_accounts(view, client(chain.cluster)) == ()
    expected: Counter[str] = Counter()
    for row in chain.accounts():
        assert f"gres/gpu={GPUS}" in row["AllocTRES"]
        stage = next(chain.stages[ending] for ending, job in chain.jobs.items() if job == row["JobID"])
        expected[stage] += int(row["ElapsedRaw"]) * GPUS
    usages = {
        stage_id: [usage for run in stage.runs if (usage := usage_of(stage_id, run, time.time()))]
        for stage_id, stage in view.state.stages.items()
    }
    counted = {stage: sum(one.allocated_s * (one.gpus or 0) for one in of_stage) for stage, of_stage in usages.items()}
    assert counted == dict(expected)
    fates = Fates.sum(fates_s(one).times(one.gpus or 0) for of_stage in usages.values() for one in of_stage)
    assert fates.allocated == pytest.approx(sum(expected.values()))
    assert fates.idle > 2 * GPUS, "the jobs slept before their first event"
    assert fates.redone > 0
    for name, value in chain.cluster.environment.items():
        monkeypatch.setenv(name, value)
    report = json.loads(detour("report", "-w", chain.workspace.root, "--json").stdout)
    status = json.loads(detour("status", "-w", chain.workspace.root, "--json").stdout)
    hours = sum(expected.values()) / 3600
    assert report["total"]["gpu_hours"]["value"] == pytest.approx(hours)
    by_stage = {stage_id: one["cost"]["gpu_hours"]["value"] or 0 for stage_id, one in report["stages"].items()}
    assert {stage: round(by_stage[stage] * 3600) for stage in expected} == dict(expected)
    assert sum(row["gpu_hours"] or 0 for row in status["chains"][0]["stages"]) == pytest.approx(hours)


def test_the_tables_of_the_live_accounts_add_up_to_the_same(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in chain.cluster.environment.items():
        monkeypatch.setenv(name, value)
    today = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    shown = detour("usage", "--since", today, "--by", "name", "--json", "--all-users").stdout
    hours = {row["name"]: row["gpu_hours"] for row in json.loads(shown)["tables"][0]["rows"]}
    for ending, job in chain.jobs.items():
        expected = sum(int(row["ElapsedRaw"]) * GPUS for row in chain.accounts() if row["JobID"] == job) / 3600
        tag = next(
            name for name in hours if chain.stages[ending] in name and workspace_id(chain.workspace.root) in name
        )
        assert hours[tag] == pytest.approx(expected, abs=1e-6)
