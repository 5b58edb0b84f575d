"""`detour watch` on a real Slurm: an order by keys, what is free, and a shell in a running job."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from detour.launch.tui.app import Watch
from detour.launch.tui.pages import Page
from detour.ledger.view import LedgerView
from detour.ledger.workspace import Workspace
from detour.monitoring.monitor import monitor
from detour.orchestration.nodes import free_nodes
from detour.planning.files import read_plan_outline
from tests.launch.tui.driving import driven, until
from tests.slurm.cluster.cluster import SlurmCluster
from tests.slurm.cluster.processes import wait_until
from tests.slurm.scripted import ScriptedEnvironment, answer

SHELL = """
import sys
from pathlib import Path
from detour.ledger.workspace import Workspace
from detour.orchestration.nodes import shell_in_job
sys.exit(shell_in_job(Workspace(Path(sys.argv[1])), sys.argv[2]))
"""


@pytest.fixture
def chain(slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A chain whose first stage runs until a file appears."""
    environment = ScriptedEnvironment(tmp_path / "env", ["root"])
    options = ("benchmark=null", "--cluster", "slurm-local", "--gpus", "1", "-w", tmp_path / "workspace")
    answer(environment.start(slurm, "root", "submit", "quickstart", *options))
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    return Workspace(tmp_path / "workspace")


def running_job(workspace: Workspace) -> tuple[str, str]:
    """The chain's first stage and its job, once it runs."""
    stage = read_plan_outline(workspace, "quickstart").stages[0].id

    def job() -> str | None:
        known = LedgerView(workspace).state.stages.get(stage)
        return known.attempts[-1].job if known and known.attempts else None

    wait_until(lambda: job() is not None, "the first stage to run", 120)
    found = job()
    assert found is not None
    return stage, found


def test_free_hardware_a_shell_in_a_job_and_an_order_by_keys(slurm: SlurmCluster, chain: Workspace) -> None:
    stage, job = running_job(chain)
    by_partition = {one.partition: one for one in free_nodes(chain, "quickstart")}
    assert by_partition["gpu_p6"].gpus == 4 * by_partition["gpu_p6"].nodes
    assert by_partition["cpu_p1"].cores_free < by_partition["cpu_p1"].cores

    code, shown = in_shell(chain, stage, "echo in=$SLURM_JOB_ID; exit 7")
    assert code == 7
    assert f"in={job}" in shown

    watched = monitor(chain)
    app = Watch(chain, watched.look, watched.look(), every_s=0.5)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("r")
        assert isinstance(app.screen, Page)
        page = app.screen.query_one("#text", Static)
        await until(pilot, lambda: "gpu_p6" in str(page.content))
        await pilot.press("escape", "home", "d", "y")
        await until(pilot, lambda: not slurm.run("squeue", "-h", "-t", "PD,R", "-j", job).stdout, 60)

    driven(app, act)


def in_shell(workspace: Workspace, stage: str, typed: str) -> tuple[int, str]:
    """The exit code of a shell in the stage's job, and what appeared."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SHELL, str(workspace.root), stage]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "SHELL": "/bin/sh"}
    ) as process:
        os.close(theirs)
        os.write(ours, f"{typed}\n".encode())
        shown = b""
        try:
            while block := os.read(ours, 65536):
                shown += block
        except OSError:  # the other side is closed
            assert shown
        return process.wait(30), shown.decode()
