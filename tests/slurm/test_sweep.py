"""Sweeps on a real Slurm, sent as arrays that correspond task by task: chains do not affect each other.

The stages are scripted, so that a sweep of hundreds of jobs runs in seconds; plan, requests and submission are real.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from detour.config.loading import load_cluster
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.orchestration.requests import JobOptions, job_requests
from detour.planning.build import Planner
from detour.planning.files import read_plan_outline
from detour.planning.order import downstream
from detour.planning.sharing import SharedPlan
from detour.planning.stage import PretrainStage, Stage
from detour.pricing.price import prices_of
from detour.scheduler.requests import JobRequest
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import VERSIONS, ClusterSettings, current_user
from tests.slurm.jobs import FAKE_PYTHON, FakeWorkspace, client
from tests.slurm.scripted import ScriptedEnvironment, answer
from tests.support.chains import RECIPES
from tests.support.no_history import NoHistory
from tests.support.recipes import make_recipe
from tests.support.stages import assumed_file

LENGTHS = (1024, 2048, 3072, 4096, 5120, 6144)
USERS = ("nobody", "sync")
"""Two ordinary accounts of every Debian that have a group in common."""
SKIP_DONE = 'for stage; do\n    [ -e "$workspace/done/$stage" ] && continue\n'


def fresh(cluster: SlurmCluster) -> FakeWorkspace:
    workspace = FakeWorkspace(cluster.home / "tmp" / f"w{secrets.token_hex(4)}", current_user())
    workspace.python.write_text(FAKE_PYTHON.replace("for stage; do\n", SKIP_DONE))
    return workspace


def sweep(seeds: Sequence[int]) -> list[Stage]:
    """Six decay lengths from one phase 1, for each training seed; four evaluations per chain."""

    planner = Planner(assumed_file)
    recipes = [
        make_recipe(
            {
                "name": f"s{seed}-{length}",
                "seeds.training": seed,
                "phases.mlm.tokens": length,
                "benchmark.seeds": [1, 2, 3, 4],
            }
        )
        for seed in seeds
        for length in LENGTHS
    ]
    return list(SharedPlan.of(planner.plan(recipe) for recipe in recipes).stages.values())


def requests_for(stages: Sequence[Stage], workspace: FakeWorkspace) -> list[JobRequest]:
    """On four cores each, so that ten run at once on the CPU node: for many more it lacks ports."""
    cluster = load_cluster("slurm-local").model_copy(update={"gpu": None, "cpu_only_cores": 4})
    done = [stage.id for stage in stages if workspace.is_done(stage.id)]
    return job_requests(stages, prices_of(stages, cluster, NoHistory()), cluster, JobOptions(), done)


def in_queue(cluster: SlurmCluster, workspace: FakeWorkspace) -> bool:
    return f":{workspace.name}:" in cluster.run("squeue", "-h", "-o", "%k").stdout


def of_chain(stages: Sequence[Stage], seed: int, length: int) -> PretrainStage:
    """The second training of one chain."""
    return next(
        stage
        for stage in stages
        if isinstance(stage, PretrainStage)
        and stage.phase == "mlm"
        and stage.settings.seeds.training == seed
        and stage.settings.phase.tokens == length
    )


def test_if_one_of_twelve_chains_fails_the_others_finish(slurm: SlurmCluster) -> None:
    workspace, slurm_client, ledger, stages = fresh(slurm), client(slurm), MemoryLedger(), sweep([17, 18])
    failing = next(
        stage
        for stage in stages
        if stage.kind == "promote" and stage.inputs["checkpoint"] == of_chain(stages, 17, 3072).id
    )
    interrupted = of_chain(stages, 18, 1024)
    workspace.plan(failing.id, 86)
    workspace.plan(interrupted.id, 85)
    requests = requests_for(stages, workspace)
    workspace.submitter(slurm_client, ledger).submit(requests)
    assert slurm_client.calls["sbatch"] == sum(request.segments for request in requests)
    assert slurm_client.calls["sbatch"] < len(stages) / 3

    wait_until(lambda: not in_queue(slurm, workspace), "the sweep to end", 240, 0.5)
    lost = {stage.id for stage in downstream(stages, [failing.id])}
    assert len(lost) == 1 + 1 + 4 + 1, "its export, evaluations and summary"
    assert {stage.id for stage in stages if not workspace.is_done(stage.id)} == lost
    tries = {stage.id: len(workspace.runs(stage.id)) for stage in stages}
    assert tries.pop(interrupted.id) == 2, "the spare array continued it"
    assert tries.pop(failing.id) == 1
    assert {stage_id for stage_id, count in tries.items() if count == 0} == lost - {failing.id}
    assert set(tries.values()) == {0, 1}

    again = requests_for(stages, workspace)
    assert {stage for request in again for stage in request.stages} == lost
    workspace.submitter(slurm_client, ledger).submit(again)
    wait_until(lambda: not in_queue(slurm, workspace), "the failed part to end", 120, 0.5)
    assert all(workspace.is_done(stage.id) for stage in stages)
    runs = {stage.id: workspace.runs(stage.id) for stage in stages}
    assert all(len(jobs) == 1 for stage_id, jobs in runs.items() if stage_id not in (failing.id, interrupted.id))
    ran = {job for jobs in runs.values() for job in jobs}

    def known() -> set[str]:
        return set(slurm.run("sacct", "-nXP", "-o", "JobIDRaw").stdout.split())

    wait_until(lambda: ran <= known(), "the accounts to know every one of them", 60, 0.5)


def test_two_overlapping_sweeps_share_jobs_in_flight(slurm: SlurmCluster) -> None:
    workspace, ledger = fresh(slurm), MemoryLedger()
    first, second = sweep([17]), sweep([17, 18])
    common = {stage.id for stage in first} & {stage.id for stage in second}
    assert len(common) == len(first)
    workspace.submitter(client(slurm), ledger).submit(requests_for(first, workspace))
    joined = workspace.submitter(client(slurm), ledger).submit(requests_for(second, workspace))
    assert common - set(joined.in_flight) <= {stage for stage in common if workspace.is_done(stage)}
    wait_until(lambda: not in_queue(slurm, workspace), "both to end", 240, 0.5)
    assert all(workspace.is_done(stage.id) for stage in second)
    assert {len(workspace.runs(stage.id)) for stage in second} == {1}


def group_workspace(cluster: SlurmCluster) -> Path:
    """As a person creates it for the group."""
    place = cluster.home / "tmp" / "shared"
    place.mkdir()
    account = pwd.getpwnam(USERS[0])
    os.chown(place, account.pw_uid, account.pw_gid)
    place.chmod(0o2770)
    return place


def sweep_file(folder: Path, user: str, lengths: Sequence[str]) -> Path:
    """One chain for each length of the second phase; chains of equal lengths have equal names."""
    path = folder / f"{user}.yaml"
    decay = {"key": "phases.mlm.tokens", "values": list(lengths)}
    content = {
        "name": f"of-{user}",
        "recipe": str(RECIPES / "quickstart.yaml"),
        "names": "{recipe}-{decay}",
        "axes": {"decay": decay},
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.skipif(current_user() != "root", reason="only root can act as two users")
def test_two_users_who_submit_at_once_share_common_stages(
    own_slurm: Callable[[ClusterSettings], SlurmCluster],
) -> None:
    cluster = own_slurm(ClusterSettings(VERSIONS[-1], users=USERS))
    place, environment = group_workspace(cluster), ScriptedEnvironment(cluster.home / "tmp" / "env", USERS)
    chains = {"nobody": ["30k", "60k"], "sync": ["60k", "90k"]}
    options = ("-w", place, "--json")
    submissions = {
        user: environment.start(
            cluster,
            user,
            "submit",
            sweep_file(cluster.home / "tmp", user, lengths),
            "benchmark=null",
            "--cluster",
            "slurm-local",
            *("--gpus", "1"),
            *options,
        )
        for user, lengths in chains.items()
    }
    output: dict[str, dict[str, Any]] = {user: json.loads(answer(process)) for user, process in submissions.items()}
    first, second = sorted(USERS, key=lambda user: len(output[user]["in_flight"]))
    stages = {
        user: {
            stage.id
            for length in lengths
            for stage in read_plan_outline(Workspace(place), f"quickstart-{length}").stages
        }
        for user, lengths in chains.items()
    }
    shared = stages["nobody"] & stages["sync"]
    assert output[first]["in_flight"] == []
    assert set(output[second]["in_flight"]) == shared

    nothing = json.loads(answer(environment.start(cluster, second, "cancel", "quickstart-60k", *options)))
    assert nothing["cancelled"]["jobs"] == []
    assert {(job["user"], stage) for job in nothing["others"] for stage in job["stages"]} >= {
        (first, stage) for stage in shared
    }

    (place / "go").touch()
    wait_until(lambda: not cluster.run("squeue", "-h").stdout, "both sweeps to end", 240, 0.3)
    state = LedgerView(Workspace(place)).state
    for user in (first, second):
        for stage in stages[user]:
            assert Workspace(place).is_done(stage)
            (attempt,) = state.stages[stage].attempts
            assert attempt.started is not None
            ran_by = state.writers[attempt.started.writer].process
            assert ran_by is not None
            assert ran_by.user == (first if stage in shared else user)
    for path in place.rglob("*"):
        mode, owner = path.lstat().st_mode, path.lstat().st_uid
        assert owner == 0 or stat.S_ISLNK(mode) or mode & 0o047 == 0o040, f"{path}: {mode:o}"
        group = 0o050 if path.is_relative_to(place / "code") and path.parent != place else 0o070
        assert not stat.S_ISDIR(mode) or mode & 0o070 == group, f"{path}: {mode:o}"
