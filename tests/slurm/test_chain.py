"""The small quickstart on a real Slurm: submitted, left alone, and ended as the ledger and the accounts agree."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detour.ledger.events import CheckpointResumed
from detour.ledger.reading import history
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import Monitor
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.support.chains import detour, small

WHERE = ("--cluster", "slurm-local", "--gpus", "1")


def environment(cluster: SlurmCluster) -> dict[str, str]:
    return {**os.environ, **cluster.environment}


def stages(workspace: Path) -> dict[str, dict[str, Any]]:
    (chain,) = Monitor(Workspace(workspace)).look().to_json()["chains"]
    return {stage["label"]: stage for stage in chain["stages"]}


def reported(workspace: Path, cluster: SlurmCluster) -> dict[str, dict[str, Any]]:
    """What `detour status` shows of each stage, with Slurm asked."""
    shown = json.loads(detour("status", "-w", workspace, "--json", environment=environment(cluster)).stdout)
    return {stage["label"]: stage for chain in shown["chains"] for stage in chain["stages"]}


def agrees(workspace: Path, cluster: SlurmCluster, slots: Mapping[str, str]) -> bool:
    """Whether status and sacct agree on every job that has neither a marker nor an end in the ledger."""
    segments = [segment for row in reported(workspace, cluster).values() for segment in row["segments"]]
    seen = {segment["job"]: segment["seen"]["state"] for segment in segments if segment["seen"]}
    accounted = accounts(cluster, slots)  # which know a job some seconds late
    return bool(seen) and all(accounted.get(slot) == seen[job] for slot, job in slots.items() if job in seen)


def accounts(cluster: SlurmCluster, jobs: Mapping[str, str]) -> dict[str, str]:
    """State of each job by sacct, by the slot for which it was submitted."""
    listed = cluster.run("sacct", "-nXP", "-j", ",".join(jobs.values()), "-o", "JobID,State").stdout
    states = dict(line.split("|") for line in listed.splitlines())
    return {slot: state.split()[0] for slot, job in jobs.items() for job_id, state in states.items() if job_id == job}


def resumed_at(workspace: Path) -> list[int]:
    """Step of each checkpoint that an attempt resumed."""
    return [entry.event.step for entry in history(Workspace(workspace), (CheckpointResumed,))]


def test_a_chain_left_alone_ends_evaluated_and_all_accounts_agree(slurm: SlurmCluster, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    arguments = ["submit", *small(), "-w", str(workspace), *WHERE]
    submitted = json.loads(detour(*arguments, "--json", environment=environment(slurm)).stdout)
    assert submitted["deferred"] == []
    assert submitted["calls"] == {"sbatch": 10, "squeue": 3, "scontrol": 1}
    joined = json.loads(detour(*arguments, "--json", environment=environment(slurm)).stdout)
    assert "sbatch" not in joined["calls"], "jobs in flight are joined, not sent again"
    wait_until(lambda: agrees(workspace, slurm, submitted["jobs"]), "status to agree with sacct", 60, 1)
    wait_until(lambda: {row["status"] for row in stages(workspace).values()} == {"done"}, "the chain's end", 540, 1)
    rows = stages(workspace)
    assert {row["attempts"] for row in rows.values()} == {1}
    wait_until(lambda: "RUNNING" not in accounts(slurm, submitted["jobs"]).values(), "sacct to catch up", 30, 0.5)
    states = accounts(slurm, submitted["jobs"])
    trained = {slot: state for slot, state in states.items() if slot.startswith("pretrain")}
    assert sorted(trained.values()) == ["CANCELLED", "CANCELLED", "COMPLETED", "COMPLETED"], (
        "unused segments were cancelled"
    )
    assert {state for slot, state in states.items() if not slot.startswith("pretrain")} == {"COMPLETED"}
    assert "nothing to submit" in detour(*arguments, environment=environment(slurm)).stdout


def test_a_permanent_failure_cancels_its_dependents_and_retry_continues(slurm: SlurmCluster, tmp_path: Path) -> None:
    """The training fails after its first steps, in every attempt: at this rate its gradient is soon NaN."""
    workspace = tmp_path / "workspace"
    diverging = ["benchmark=null", "optimizer.lr=1e30", "training.checkpoint_every=1"]
    detour("submit", *small(more=diverging), "-w", workspace, *WHERE, environment=environment(slurm))

    def failed(attempts: int) -> bool:
        row = stages(workspace)["pretrain clm"]
        return (row["status"], row["attempts"]) == ("failed", attempts)

    wait_until(lambda: failed(1), "the training's end", 300, 1)
    assert resumed_at(workspace) == []

    def queued() -> str:
        return slurm.run("squeue", "-h", "-o", "%k").stdout

    ids = [row["id"] for row in stages(workspace).values()]
    wait_until(lambda: not any(stage_id in queued() for stage_id in ids), "the dependants to be gone", 240)
    left = detour(
        "submit", *small(more=diverging), "-w", workspace, *WHERE, environment=environment(slurm), check=False
    )
    assert left.returncode == 3, "a permanent failure is reported, not sent"
    assert "failed: pretrain clm of quickstart" in left.stdout
    assert f"detour retry -w {workspace} quickstart" in left.stdout
    assert "nothing to submit but what failed and its dependents; --retry submits these" in left.stderr
    again = detour("retry", "quickstart", "-w", workspace, "--json", environment=environment(slurm))
    assert "pretrain clm: runs again; it had failed: the gradient was not finite" in again.stderr
    assert json.loads(again.stdout)["jobs"]
    wait_until(lambda: failed(2), "the second try's end", 300, 1)
    (step,) = resumed_at(workspace)
    assert step > 0, "the retried training resumed from its last good checkpoint"
    wait_until(lambda: not any(stage_id in queued() for stage_id in ids), "the dependants to be gone again", 240)
    detour("retry", "quickstart", "-w", workspace, environment=environment(slurm))
    cancelled = json.loads(
        detour("cancel", "quickstart", "-w", workspace, "--json", environment=environment(slurm)).stdout
    )
    assert cancelled["cancelled"]["jobs"]
    wait_until(lambda: not any(stage_id in queued() for stage_id in ids), "the chain to be gone", 240)
    nothing = detour("cancel", "quickstart", "-w", workspace, environment=environment(slurm)).stdout
    assert "nothing cancelled" in nothing


def test_hold_stops_a_chain_and_release_continues_it(slurm: SlurmCluster, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    late = ["name=held", "seeds.shuffle=7", "benchmark=null"]
    detour("submit", *small(more=late), "-w", workspace, *WHERE, environment=environment(slurm))
    held = json.loads(
        detour(
            "hold", "held", "--stage", "promote clm", "-w", workspace, "--json", environment=environment(slurm)
        ).stdout
    )
    assert held["held"]["stages"]
    released = json.loads(detour("release", "held", "-w", workspace, "--json", environment=environment(slurm)).stdout)
    assert set(held["held"]["jobs"]) <= set(released["released"]["jobs"])
    slurm.run("scancel", *held["held"]["jobs"])
    behind = ("promote clm", "pretrain mlm", "promote mlm", "export")
    wait_until(
        lambda: {reported(workspace, slurm)[label]["status"] for label in behind} == {"cancelled"},
        "status to know that what was cancelled, and what hung on it, is gone",
        120,
        2,
    )
    detour("cancel", "held", "-w", workspace, environment=environment(slurm))
