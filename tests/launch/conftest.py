from __future__ import annotations

import os
from pathlib import Path

import pytest

from detour.ledger.workspace import Workspace
from tests.support.chains import detour, small
from tests.support.week import write_week

ALLOCATION = {
    "SLURM_JOB_ID": "7",
    "SLURM_ARRAY_JOB_ID": "6",
    "SLURM_ARRAY_TASK_ID": "1",
    "SLURM_PROCID": "0",
    "SLURM_NTASKS": "2",
    "SLURM_NNODES": "1",
    "SLURM_GPUS_ON_NODE": "4",
    "SLURM_MEM_PER_NODE": "1000",
}


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("week") / "workspace")
    write_week(workspace)
    return workspace


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the small quickstart was run from a shell inside an allocation.

    Tests that use it are in the xdist group `chain`.
    """
    workspace = tmp_path_factory.mktemp("chain") / "workspace"
    shell = {**os.environ, **ALLOCATION}
    assert "all 9 stages are done" in detour("run", *small(), "-w", workspace, "--quiet", environment=shell).stdout
    return workspace
