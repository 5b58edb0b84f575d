"""Sweeps on a real Slurm, sent as arrays that correspond task by task: what one chain does is nothing to the others.

The stages are scripted, so that a sweep of hundreds of jobs runs in seconds; plan, requests and submission are real.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from detour.accounting.price import NoHistory, prices_of
from detour.ledger.workspace import Workspace
from detour.plan.build import Content, Planner
from detour.plan.order import downstream
from detour.plan.sharing import SharedPlan
from detour.plan.stage import Stage
from detour.recipe.loading import load_cluster
from detour.recipe.models import File
from detour.scheduler.requests import JobRequest
from detour.scheduler.sent import fold
from detour.scheduler.tags import workspace_id
from launch.ledger_view import LedgerView
from launch.requests import Wishes, job_requests
from launch.standing import SUBMIT_EVENTS
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.cluster.settings import current_user
from tests.slurm.jobs import FAKE_PYTHON, FakeWorkspace, client
from tests.support.chains import DETOUR, RECIPES, detour
from tests.support.recipes import make_recipe

LENGTHS = (1024, 2048, 3072, 4096, 5120, 6144)
SKIP_DONE = 'for stage; do\n    [ -e "$workspace/done/$stage" ] && continue\n'


def fresh(cluster: SlurmCluster) -> FakeWorkspace:
    workspace = FakeWorkspace(cluster.home / "tmp" / f"w{secrets.token_hex(4)}", current_user())
    workspace.python.write_text(FAKE_PYTHON.replace("for stage; do\n", SKIP_DONE))
    return workspace


def sweep(seeds: Sequence[int]) -> list[Stage]:
    """Six decay lengths from one phase 1, for each training seed; four evaluations a chain."""

    def inspect(entry: File | str) -> Content | None:
        return None if isinstance(entry, str) else Content((Path(entry.path),), ("f",), 1)

    planner = Planner(inspect)
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
    return job_requests(stages, prices_of(stages, cluster, NoHistory()), cluster, Wishes(), done)


def in_queue(cluster: SlurmCluster, workspace: FakeWorkspace) -> bool:
    return f":{workspace.name}:" in cluster.run("squeue", "-h", "-o", "%k").stdout


def of_chain(stages: Sequence[Stage], seed: int, length: int) -> Stage:
    """The second training of one chain."""
    return next(
        stage
        for stage in stages
        if stage.label == "pretrain mlm"
        and stage.settings["seeds"]["training"] == seed
        and stage.settings["phase"]["tokens"] == length
    )


def test_of_twelve_chains_one_fails_and_the_others_end(slurm: SlurmCluster) -> None:
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
    assert tries.pop(interrupted.id) == 2, "the spare array took it up"
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


def test_two_sweeps_that_overlap_share_what_is_in_flight(slurm: SlurmCluster) -> None:
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


def test_overlapping_sweeps_submitted_at_the_same_time_are_both_served(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Through the command that people type: whoever is second joins what the first has sent."""
    workspace, environment = Workspace(tmp_path / "workspace"), {**os.environ, **slurm.environment}
    sweeps = [tmp_path / "one.yaml", tmp_path / "two.yaml"]
    for sweep_file, lengths in zip(sweeps, ("30k, 40k", "40k, 50k"), strict=True):
        axis = f"  decay: {{key: phases.mlm.tokens, values: [{lengths}]}}\n"
        sweep_file.write_text(f"name: {sweep_file.stem}\nrecipe: {RECIPES / 'quickstart.yaml'}\naxes:\n{axis}")
    planned = [json.loads(detour("plan", each, "-w", workspace.root, "--json").stdout) for each in sweeps]
    where = ("-w", str(workspace.root), "--cluster", "slurm-local", "--gpus", "1", "--json")
    running = [
        subprocess.Popen(
            [DETOUR, "submit", str(each), *where], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for each in sweeps
    ]
    told = [process.communicate(timeout=240) for process in running]
    jobs = [job for out, _ in told for job in json.loads(out or b'{"jobs": {}}')["jobs"].values()]
    if jobs:
        slurm.run("scancel", *jobs)
    assert [process.returncode for process in running] == [0, 0], told
    events = [(record["kind"], record["data"]) for record in LedgerView(workspace).records(SUBMIT_EVENTS)]
    sent = [one for one in fold(events, workspace_id(workspace.root)).values() if one.committed and not one.dropped]
    filled = Counter((stage, one.tag.segment) for one in sent for task in one.tasks for stage in task)
    assert {stage for stage, _ in filled} == {stage for plan in planned for stage in plan["stages"]}
    assert set(filled.values()) == {1}, "one job for each segment of each stage, whoever sent it"
    shared = set(planned[0]["stages"]) & set(planned[1]["stages"])
    joined = [set(json.loads(out)["in_flight"]) for out, _ in told]
    assert joined in ([set(), shared], [shared, set()])
