"""Chains in every state on a real Slurm: each has the right word, reason and next step, in text and in JSON."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detour.ledger.events import ChainSubmitted, StageSubmitted
from detour.ledger.identity import workspace_id
from detour.ledger.journal import Journal
from detour.ledger.workspace import Workspace
from detour.planning.stage import Stage
from detour.scheduler.tags import Tag
from tests.slurm import job_until_signal
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings
from tests.support.chains import detour
from tests.support.stages import pretrain_stage

Starter = Callable[[ClusterSettings], SlurmCluster]
CPU = ("-A", "abc@cpu", "-p", "cpu_p1")
WHOLE_GPU_NODE = ("-A", "abc@h100", "-p", "gpu_p6", "--gres=gpu:4", "--cpus-per-task=90")
EXPECTED = {
    "running": ("running", None, None),
    "lost": ("lost contact", r"runs, without a sign of life for 3\ds", "detour why lost"),
    "waits": ("pending", r"waits for the jobs before it \(Dependency\)", None),
    "turn": (
        "pending",
        r"(next in turn, .*\(Resources\)|others are .*\(Priority\)|the nodes it asks for .*)",
        None,
    ),
    "later": ("pending", r"waits for its begin time.*", None),
    "held": ("held", r"held by a person \(JobHeldUser\)", "detour release held"),
    "preempted": ("preempted", r".+", None),
    "late": ("timed out", r"ended as TIMEOUT", "detour retry late"),
    "saved": ("saved at limit", r"waits for its begin time.*", None),
    "broken": ("failed", r"ended as FAILED, exit code 3 before it started the stage", "detour why broken"),
    "gone": ("node failed", r"ended as NODE_FAIL", "detour retry gone"),
    "stopped": ("cancelled", r"cancelled after it started", "detour retry stopped"),
}
"""Chain -> state, reason, and the beginning of its next step."""
AGE = r"\b\d+s\b"


class Sweep:
    """A workspace of chains of one stage each, and the jobs that stand in for theirs."""

    def __init__(self, cluster: SlurmCluster) -> None:
        self.cluster = cluster
        self.workspace = Workspace(cluster.home / "tmp" / "workspace")
        self.workspace.create()
        self.stages: dict[str, Stage] = {
            name: pretrain_stage("clm", {}, seed) for seed, name in enumerate(EXPECTED, start=1)
        }
        self.journal = Journal.open(self.workspace, "command-1")
        for name, stage in self.stages.items():
            self.workspace.chain(name).mkdir()
            plan = {"chain": name, "stages": [stage.to_json()], "sweep": "all", "poll_s": 2.0}
            (self.workspace.chain(name) / "plan.json").write_text(json.dumps(plan))
            self.journal.append(ChainSubmitted(cluster="here"), chain=name)

    def submit(self, name: str, shell: str, *options: str, segment: int = 1) -> str:
        """Submit a job of the chain's stage, tagged as ours are."""
        stage = self.stages[name].id
        tag = str(Tag(workspace_id(self.workspace.root), stage, segment, f"s{segment}"))
        marks = ("-J", tag, "--comment", tag, "-o", f"{self.cluster.home}/tmp/{name}.log")
        job = self.cluster.run("sbatch", "--parsable", *marks, *options, "--wrap", shell).stdout.strip()
        self.journal.append(StageSubmitted(), stage=stage, job=job)
        self.journal.flush()
        return job

    def job(self, name: str, way: str = "work") -> str:
        script = f"{sys.executable} {job_until_signal.__file__} {self.workspace.root} {self.stages[name].id} 1 {way}"
        return f"PYTHONPATH={Path(job_until_signal.__file__).parents[2]}/src exec {script}"

    def call(self, *words: str, columns: int = 100) -> str:
        environment = {
            **os.environ,
            **self.cluster.environment,
            "TMPDIR": str(self.cluster.home / "tmp"),
            "COLUMNS": str(columns),
            "DETOUR_WORKSPACE": str(self.workspace.root),
        }
        return detour(*words, environment=environment).stdout

    def rows(self) -> dict[str, dict[str, Any]]:
        found = json.loads(self.call("status", "all", "--json"))
        return {chain["name"]: chain["stages"][0] for chain in found["chains"]}

    def output(self, verb: str) -> dict[str, str]:
        """Chain -> what the verb prints about it on 80 columns, in one line."""
        text = self.call(verb, *EXPECTED, columns=80)
        assert verb == "show" or max(map(len, text.splitlines())) <= 80
        found = re.findall(r"(?ms)^(\w+): \d of \d stages done(.*?)(?=^\w+: \d of|\Z)", text)
        if verb == "show":  # the chains first, then their stages
            stages = re.findall(r"(?ms)^\S[^\n]* \((\S+)\): (.*?)(?=^\S|\Z)", text)
            names = {stage.id: name for name, stage in self.stages.items()}
            found = [(names[stage], words) for stage, words in stages]
        return {name: " ".join(words.split()) for name, words in found}

    def is_running(self, job: str) -> bool:
        return self.cluster.run("squeue", "-h", "-j", job, "-o", "%T", check=False).stdout.strip() == "RUNNING"

    def has_begun(self, *names: str) -> bool:
        writers = [path.name for path in self.workspace.ledger.glob("*/*.jsonl")]
        return all(any(self.stages[name].id in writer for writer in writers) for name in names)


def fill(sweep: Sweep) -> None:
    """Bring every chain's jobs into the state that the test wants to see."""
    cluster = sweep.cluster
    sweep.submit("lost", sweep.job("lost", "silent"), *CPU)
    late = sweep.submit("late", "sleep 600", *CPU, "--time=1")
    running = sweep.submit("running", sweep.job("running"), *CPU)
    saved = sweep.submit("saved", sweep.job("saved"), *CPU)
    stopped = sweep.submit("stopped", sweep.job("stopped"), *CPU)
    sweep.submit("broken", "exit 3", *CPU)
    sweep.submit("gone", "sleep 600", *WHOLE_GPU_NODE, "-w", "gpu2", "--no-requeue")
    sweep.submit("preempted", sweep.job("preempted"), *WHOLE_GPU_NODE, "-q", "qos_gpu_h100-be")
    wait_until(lambda: sweep.is_running(late), "the job to start that will be late", 30, 0.2)
    soon = time.localtime(time.time() + 1)  # not in the second in which it started, which Slurm refuses
    cluster.run("scontrol", "update", f"JobId={late}", f"EndTime={time.strftime('%Y-%m-%dT%H:%M:%S', soon)}")
    sweep.submit("waits", "true", *CPU, f"--dependency=afterok:{running}")
    sweep.submit("held", "true", *CPU, "--hold")
    sweep.submit("later", "true", *CPU, "--begin=now+1hour")
    wait_until(
        lambda: sweep.has_begun("running", "saved", "stopped", "preempted", "lost"), "stand-ins to begin", 30, 0.2
    )
    cluster.kill_node("gpu2")
    # Done by hand: a timeout short enough to wait for would take other nodes down on a busy machine.
    cluster.run("scontrol", "update", "NodeName=gpu2", "State=DOWN", "Reason=killed")
    cluster.run("scancel", "--full", "-s", "USR2", saved)
    cluster.run("scancel", "--full", stopped)
    sweep.submit("saved", "true", *CPU, "--begin=now+1hour", segment=2)
    urgent = ("-q", "qos_gpu_h100-dev", "-o", "/dev/null", "--wrap", "sleep 600")
    taker = cluster.run("sbatch", "--parsable", *WHOLE_GPU_NODE, *urgent).stdout.strip()
    wait_until(lambda: sweep.is_running(taker), "a job of higher priority to take a node", 30, 0.2)
    sweep.submit("turn", "sleep 600", *WHOLE_GPU_NODE, "-w", "gpu1")


def test_twelve_chains_in_every_state_have_the_right_state_reason_and_next_step(own_slurm: Starter) -> None:
    sweep = Sweep(own_slurm(ClusterSettings(VERSIONS[-1], gpu_nodes=2, slurmd_timeout_s=60)))
    fill(sweep)
    states = {name: state for name, (state, _, _) in EXPECTED.items()}

    def shown() -> dict[str, str]:
        return {name: row["state"] for name, row in sweep.rows().items()}

    try:
        wait_until(lambda: shown() == states, "every chain to be where it should", 150, 1.0)
    except RuntimeError as error:
        raise AssertionError(f"expected {states}, shown {shown()}") from error
    rows = sweep.rows()
    for name, (state, reason, step) in EXPECTED.items():
        row = rows[name]
        assert re.fullmatch(reason, row["reason"]) if reason else row["reason"] is None, f"{name}: {row['reason']}"
        assert (row["next_step"] or "").startswith(f"`{step}" if step else ""), f"{name}: {row['next_step']}"
        assert (row["reason_job"] is not None) == (reason is not None), name
        assert row["needs_person"] == (state in ("lost contact", "held", "timed out", "failed", "node failed"))
    check_texts(sweep)
    lines = [
        line for line in sweep.call("status", "all").splitlines() if line[:2].endswith(" ") and line[0] in "✗!‖↻▶○⊘"
    ]
    text = {line.split()[1]: line for line in lines}
    assert list(text)[:2] == ["broken", "lost"], "the worst first"
    for name, row in rows.items():
        assert row["state"] in text[name]
        assert not row["needs_person"] or row["reason"][:20] in text[name].replace("…", row["reason"][:20])
    assert json.loads(sweep.call("status", "all", "--json"))["queue_s"] is not None


def check_texts(sweep: Sweep) -> None:
    """`status` and `show` have each chain's word, reason and next step as in JSON; ages increase in between."""
    for verb in ("status", "show"):
        before, output, after = sweep.rows(), sweep.output(verb), sweep.rows()
        assert output.keys() == before.keys()
        for name, text in output.items():
            row = before[name]
            assert row["state"] in text, f"{verb} {name}: {text}"
            job = f"job {row['reason_job']}: " if row["reason_job"] else ""
            reasons = [re.sub(AGE, "AGE", f"{job}{one['reason'] or ''}") for one in (row, after[name])]
            assert any(reason in re.sub(AGE, "AGE", text) for reason in reasons), f"{verb} {name}: {text}"
            assert (row["next_step"] or "") in text, f"{verb} {name}: {text}"
            assert row["next_step"] or "`detour" not in text, f"{verb} {name}: {text}"
