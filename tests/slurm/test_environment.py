"""A shell full of Slurm's input variables, on the real Slurm: every verb does what it does without them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from detour.scheduler.commands import Slurm, SubprocessRunner
from detour.scheduler.control import Control
from detour.scheduler.snapshot import take_snapshot
from tests.scheduler.fake_slurm import MemoryLedger
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.settings import Programs
from tests.slurm.jobs import CPU, client, small_chain
from tests.slurm.test_submission import fresh, live_ids, slots
from tests.support.chains import detour, small
from tests.support.slurm_variables import LISTED, hostile, hostile_variables, input_variables

WORST = (
    *("SQUEUE_STATES", "SQUEUE_PARTITION", "SCANCEL_INTERACTIVE", "SCANCEL_STATE", "SBATCH_ARRAY_INX"),
    *("SBATCH_JOB_NAME", "SBATCH_EXPORT", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT", "SLURM_DEBUG_FLAGS"),
)


def test_the_list_is_that_of_the_manual_pages(slurm: SlurmCluster) -> None:
    assert set(input_variables(Programs.find(slurm.settings.version).root)) <= set(LISTED)


def test_submit_status_and_cancel_with_every_variable_set_at_once(slurm: SlurmCluster, tmp_path: Path) -> None:
    hostile_shell = {**os.environ, **slurm.environment, **hostile_variables()}
    order = ("submit", *small(), "-w", str(tmp_path), "--cluster", "slurm-local", "--gpus", "1", "--json")
    sent = json.loads(detour(*order, environment=hostile_shell).stdout)
    assert sent["calls"] == {"sbatch": 10, "squeue": 2, "scontrol": 1}
    again = json.loads(detour(*order, environment=hostile_shell).stdout)
    assert again["jobs"] == sent["jobs"]
    assert "sbatch" not in again["calls"]
    (chain,) = json.loads(detour("status", "-w", tmp_path, "--json", environment=hostile_shell).stdout)["chains"]
    assert {stage["status"] for stage in chain["stages"]} <= {"submitted", "running", "done"}
    taken = json.loads(detour("cancel", chain["name"], "-w", tmp_path, "--json", environment=hostile_shell).stdout)
    assert set(taken["cancelled"]["jobs"]) == set(sent["jobs"].values())
    left = take_snapshot(client(slurm), ["root"]).queue or ()
    assert not {record.ids.id for record in left if record.state.name == "PENDING"}.intersection(sent["jobs"].values())


@pytest.mark.parametrize("name", WORST)
def test_a_variable_that_hides_or_bends_jobs_changes_nothing(slurm: SlurmCluster, name: str) -> None:
    bent = Slurm(SubprocessRunner({**slurm.environment, name: hostile(name)}))
    workspace, ledger = fresh(slurm), MemoryLedger()
    requests = small_chain(replace(CPU, options=("--begin=now+1hour",)))
    submission = workspace.submitter(bent, ledger).submit(requests)
    assert workspace.submitter(bent, ledger).submit(requests).jobs == submission.jobs
    assert live_ids(slurm, workspace) == {slot: [job] for slot, job in submission.jobs.items()}
    assert set(submission.jobs) == slots(requests)
    stages = [stage for request in requests for stage in request.stages]
    Control(bent, ledger, workspace.name, [workspace.user]).cancel(stages, "test")
    assert live_ids(slurm, workspace) == {}
