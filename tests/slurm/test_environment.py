"""A shell full of Slurm's input variables, on the real Slurm: every verb does the same as without them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.control import Control
from detour.scheduler.requests import JobRequest, Resources
from detour.scheduler.snapshot import take_snapshot
from detour.scheduler.submission_script import ScriptStyle, submission_script
from detour.scheduler.tags import Tag
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import Programs
from tests.slurm.jobs import CPU, GPU, client, small_chain, wait_for_states
from tests.slurm.test_submission import fresh, live_ids, slots
from tests.support.chains import ROOT, detour, small
from tests.support.slurm_variables import LISTED, hostile_variables, input_variables

ALLOCATION = {
    "SLURM_JOB_ID": "1",
    "SLURM_NTASKS": "2",
    "SLURM_MEM_PER_NODE": "8000",
    "SLURM_GPUS_PER_NODE": "1",
    "SLURM_ARRAY_JOB_ID": "9",
    "SLURM_ARRAY_TASK_ID": "3",
    "CUDA_VISIBLE_DEVICES": "3",
}
SPY = """\
#!/bin/bash
echo "task $SLURM_PROCID, mark ${MARK:-lost}, array ${SLURM_ARRAY_JOB_ID:-none}, devices ${CUDA_VISIBLE_DEVICES:-none}"
"""


def logged(cluster: SlurmCluster, logs: Path, asked: Resources, shell: Mapping[str, str] = MappingProxyType({})) -> str:
    """The log of a job of ours that runs a script in place of Python, and whose batch script exports MARK."""
    logs.mkdir(parents=True)
    spy, script = logs / "python", logs / "job.sh"
    spy.write_text(SPY)
    spy.chmod(0o755)
    request, tag = JobRequest((("export-1",),), asked, 60), Tag("w", "export-1", 1, secrets.token_hex(4))
    # with --export=NONE a job has the machine's own path, and so finds the srun of another version
    style = ScriptStyle(Path("/w"), str(spy), environment={"MARK": "there", "PATH": cluster.environment["PATH"]})
    script.write_text(submission_script(request, tag, None, style, logs))
    slurm = Slurm(SubprocessRunner({**cluster.environment, **shell}))
    job = slurm.submit(script).job_id
    assert job is not None
    slurm.release([job])
    wait_for_states(cluster, {job: "COMPLETED"}, timeout_s=60)
    return "".join(path.read_text() for path in sorted(logs.glob("*.out")))


def test_the_list_equals_that_of_the_manual_pages(slurm: SlurmCluster) -> None:
    assert set(input_variables(Programs.find(slurm.settings.version).root)) <= set(LISTED)


def test_submit_status_and_cancel_work_with_every_variable_set_at_once(slurm: SlurmCluster, tmp_path: Path) -> None:
    hostile_shell = {**os.environ, **slurm.environment, **hostile_variables()}
    order = ("submit", *small(), "-w", str(tmp_path), "--cluster", "slurm-local", "--gpus", "1", "--json")
    sent = json.loads(detour(*order, environment=hostile_shell).stdout)
    assert sent["calls"] == {"sbatch": 10, "squeue": 3, "scontrol": 1}
    quick = {job for slot, job in sent["jobs"].items() if slot.startswith("prepare-")}  # it may have ended
    again = json.loads(detour(*order, environment=hostile_shell).stdout)
    assert quick.union(again["jobs"].values()) == set(sent["jobs"].values())
    assert "sbatch" not in again["calls"]
    (chain,) = json.loads(detour("status", "-w", tmp_path, "--json", environment=hostile_shell).stdout)["chains"]
    assert {stage["status"] for stage in chain["stages"]} <= {"submitted", "running", "done"}
    taken = json.loads(detour("cancel", chain["name"], "-w", tmp_path, "--json", environment=hostile_shell).stdout)
    assert quick.union(taken["cancelled"]["jobs"]) == set(sent["jobs"].values())
    left = take_snapshot(client(slurm), ["root"]).queue or ()
    assert not {record.ids.id for record in left if record.state.name == "PENDING"}.intersection(sent["jobs"].values())


def test_variables_that_hide_or_change_jobs_leave_each_job_once_and_nothing_after_cancel(slurm: SlurmCluster) -> None:
    hostile_slurm = Slurm(SubprocessRunner({**slurm.environment, **hostile_variables()}))
    workspace, ledger = fresh(slurm), MemoryLedger()
    requests = small_chain(replace(CPU, options=("--begin=now+1hour",)))
    submission = workspace.submitter(hostile_slurm, ledger).submit(requests)
    assert workspace.submitter(hostile_slurm, ledger).submit(requests).jobs == submission.jobs
    assert live_ids(slurm, workspace) == {slot: [job] for slot, job in submission.jobs.items()}
    assert set(submission.jobs) == slots(requests)
    stages = [stage for request in requests for stage in request.stages]
    Control(hostile_slurm, ledger, workspace.name, [workspace.user]).cancel(stages, "test")
    assert live_ids(slurm, workspace) == {}


def test_a_job_submitted_in_an_allocation_inherits_nothing_of_it(slurm: SlurmCluster, tmp_path: Path) -> None:
    asked = replace(GPU, gpu_option="gres=gpu:4")
    output = logged(slurm, tmp_path / "logs", asked, ALLOCATION)
    assert output == "task 0, mark there, array none, devices 0,1,2,3\n"


@pytest.mark.parametrize("variable", [{}, {"SBATCH_EXPORT": "NONE"}])
def test_variables_exported_by_the_script_reach_the_tasks(
    slurm: SlurmCluster, tmp_path: Path, variable: Mapping[str, str]
) -> None:
    output = logged(slurm, tmp_path / "logs", replace(CPU, options=("--export=NONE",)), variable)
    assert output.startswith("task 0, mark there")


@pytest.mark.parametrize("name", ["100% %j", "back\\slash", "both\\and %t", 'it\'s "quoted"'])
def test_logs_are_in_the_workspace_whatever_its_path(slurm: SlurmCluster, tmp_path: Path, name: str) -> None:
    assert "task 0, mark there" in logged(slurm, tmp_path / name / "logs", CPU)


def test_all_commands_go_to_the_cluster_of_the_profile(slurm: SlurmCluster, tmp_path: Path) -> None:
    profile = tmp_path / "routed.yaml"
    profile.write_text(f"extends: {ROOT}/configs/clusters/slurm-local.yaml\nname: routed\nslurm_cluster: local\n")
    shell, workspace = {**os.environ, **slurm.environment, "SLURM_CLUSTERS": "elsewhere"}, str(tmp_path / "w")
    order = ("submit", *small(), "-w", workspace, "--cluster", str(profile), "--gpus", "1", "--json")
    sent = json.loads(detour(*order, environment=shell).stdout)
    assert len(sent["jobs"]) == 10
    (chain,) = json.loads(detour("status", "-w", workspace, "--json", environment=shell).stdout)["chains"]
    assert {stage["status"] for stage in chain["stages"]} <= {"submitted", "running", "done"}
    taken = json.loads(detour("cancel", chain["name"], "-w", workspace, "--json", environment=shell).stdout)
    quick = {job for slot, job in sent["jobs"].items() if slot.startswith("prepare-")}  # it may have ended
    assert quick.union(taken["cancelled"]["jobs"]) == set(sent["jobs"].values())
