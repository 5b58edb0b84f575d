"""The page's example of a submission, on a real Slurm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from detour.ledger.workspace import VARIABLE, Workspace
from detour.monitoring.monitor import Monitor
from tests.slurm.cluster.cluster import SlurmCluster
from tests.support.chains import detour
from tests.support.page import examples


def test_a_chain_is_submitted_from_python_as_documented(slurm: SlurmCluster, tmp_path: Path) -> None:
    code = 'import detour\nplan = detour.plan("quickstart")\n' + examples()["Submit"].replace("jean-zay", "slurm-local")
    workspace = Workspace(tmp_path / "workspace")
    environment = {**os.environ, **slurm.environment, VARIABLE: str(workspace.root)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    jobs = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    (chain,) = Monitor(workspace).look().chains
    detour("cancel", "quickstart", environment=environment)
    assert {job.partition("_")[0] for stage in chain.stages for job in stage.jobs} == set(jobs.values())
